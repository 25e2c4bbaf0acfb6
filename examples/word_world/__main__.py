"""``python -m examples.word_world``: see ``build``."""

from examples.word_world.build import main

if __name__ == "__main__":
    main()
