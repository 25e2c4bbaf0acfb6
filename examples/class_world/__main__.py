"""``python -m examples.class_world``: see ``build``."""

if __name__ == "__main__":  # worker processes import this file too, and need nothing of ``build``
    from examples.class_world.build import main

    main()
