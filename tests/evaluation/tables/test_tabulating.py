import numpy as np
import pytest
from labelled import write_labelled

from fb_jax.banks import BankSet, Split, open_banks
from fb_jax.errors import FreeBindError
from fb_jax.evaluation import Bootstrap, tabulate
from fb_jax.evaluation.bootstrap import around
from fb_jax.evaluation.tables.paper import paper_figures, paper_row
from fb_jax.evaluation.tables.tabulating import tasks_on
from fb_jax.evaluation.tasks import PAPER_TASKS

FEW = Bootstrap(50)
ROWS = {"imagebind": "imagebind", "clap_general": "clap_general"}


@pytest.fixture(scope="module")
def rows(space):
    mean = ("imagebind", "clap_general")
    return ROWS | {"versatile": space.at("versatile"), "mean_of_scores": mean}


@pytest.fixture(scope="module")
def table(rows, test_banks):
    return tabulate(rows, {"test": test_banks}, bootstrap=FEW)


def labelled(several=False, split="esc50", media="audio"):
    """Three items of two classes with two prompts each, in one space."""
    arrays = {"u": {media: np.eye(3), "text": np.eye(4, 3) + 0.1}}
    labels = np.array([[0, 0], [1, 1], [2, 1]] + [[2, 0]] * several)
    prompts = np.array([[0, 0], [0, 3], [1, 1], [1, 2]])
    return BankSet.from_arrays(
        arrays, {(media, "class"): labels, ("class", "text"): prompts}, split
    )


def test_cells_are_the_figures_of_evaluate(table, metrics):
    assert [task.name for task in table.tasks] == [
        f"test {pair}" for pair in ("audio-image", "audio-text", "image-text")
    ]
    for row in table.cells:
        model = {"imagebind": "unified"}.get(row, row)
        for pair, figures in metrics[model].items():
            for name, cell in table.cells[row][f"test {pair}"].items():
                assert cell.value == figures[name]
                assert cell.low <= cell.value <= cell.high
    assert list(table.cells["clap_general"]) == ["test audio-text"]


def test_intervals_are_percentiles_of_the_resamples_around_the_figure(table):
    samples = table.samples["imagebind"]["test audio-text"]["R@1"]
    cell = table.cells["imagebind"]["test audio-text"]["R@1"]
    assert len(samples) == 51
    assert (cell.low, cell.high) == around(cell.value, samples[1:])
    width = np.subtract(*np.quantile(samples[1:], [0.975, 0.025]))
    assert cell.high - cell.low == pytest.approx(width)
    assert cell.low < cell.value < cell.high


def test_without_resamples_there_is_no_interval(rows, test_banks):
    table = tabulate(rows, {"test": test_banks}, bootstrap=Bootstrap(0))
    cells = [cell for t in table.cells.values() for own in t.values() for cell in own.values()]
    assert all(cell.low == cell.value == cell.high for cell in cells)


def test_a_seed_gives_the_same_intervals_and_another_one_others(rows, test_banks, table):
    again, other = (
        tabulate(rows, {"test": test_banks}, bootstrap=Bootstrap(50, seed)) for seed in (0, 1)
    )
    assert again.cells == table.cells
    assert other.cells != table.cells


def test_tasks_are_kept_in_the_order_in_which_they_are_named(rows, test_banks):
    names = ["test image-text", "test audio-text"]
    table = tabulate(rows, {"test": test_banks}, tasks=names, metrics=["mAP@10"], bootstrap=FEW)
    assert [(task.name, metric) for task, metric in table.columns] == [(n, "mAP@10") for n in names]
    with pytest.raises(FreeBindError, match=r"no task 'tset'(.|\n)*test audio-text"):
        tabulate(rows, {"test": test_banks}, tasks=["tset"])


def test_the_best_of_some_rows_is_a_row(table):
    best = table.with_best_of(list(ROWS), "best").cells["best"]
    assert best["test audio-text"]["R@1"] == max(
        table.cells[row]["test audio-text"]["R@1"] for row in ROWS
    )
    assert best["test image-text"] == {
        m: table.cells["imagebind"]["test image-text"][m] for m in ("R@1", "R@5")
    }


def test_the_best_median_rank_is_the_lowest(rows, test_banks):
    table = tabulate(rows, {"test": test_banks}, metrics=["median rank"], bootstrap=FEW)
    best = table.with_best_of(list(ROWS), "best").cells["best"]["test audio-text"]["median rank"]
    ranks = [table.cells[row]["test audio-text"]["median rank"].value for row in ROWS]
    assert best.value == min(ranks) < max(ranks)


def test_banks_without_a_space_leave_its_cells_blank(space, root):
    banks = open_banks(root, "test", spaces=["imagebind"])
    table = tabulate(ROWS | {"versatile": space}, {"test": banks}, bootstrap=Bootstrap(0))
    assert table.cells["clap_general"] == {}
    assert list(table.cells["versatile"]) == []  # an image alone, and no pair
    assert len(table.cells["imagebind"]) == 3


# Tasks


def test_the_papers_tasks_go_by_the_names_of_their_splits():
    (task,) = tasks_on("esc50", labelled())
    assert task == PAPER_TASKS["esc50"]
    assert (task.metrics, task.paper) == (("top-1",), 2000)
    (other,) = tasks_on("test", labelled())
    assert (other.name, other.pair, other.metrics) == (
        "test audio-class",
        ("audio", "class"),
        ("top-1", "top-5"),
    )


def test_items_with_several_classes_have_mean_average_precision():
    (task,) = tasks_on("sounds", labelled(several=True))
    assert task.metrics == ("mAP",)
    table = tabulate({"u": "u"}, {"sounds": labelled(several=True)}, bootstrap=FEW)
    assert list(table.cells["u"]["sounds audio-class"]) == ["mAP"]
    assert table.items == {"sounds audio-class": {"audio": 3, "class": 2}}


@pytest.mark.parametrize(
    ("dataset", "metrics"), [("audioset", ("mAP",)), ("esc50", ("top-1", "top-5"))]
)
def test_the_record_of_a_data_set_says_whether_items_may_have_several(tmp_path, dataset, metrics):
    write_labelled(Split(tmp_path / "part"), {"u": {"audio": 8, "text": 8}}, dataset=dataset)
    banks = open_banks(tmp_path, "part", spaces=["u"])
    (task,) = tasks_on("part", banks)
    assert task.metrics == metrics
    table = tabulate({"u": "u"}, {"part": banks}, bootstrap=FEW)
    assert tuple(table.cells["u"]["part audio-class"]) == metrics
    ((_, recorded),) = table.about["splits"].items()
    assert recorded["data set"] == {
        "dataset": dataset,
        "version": "1",
        "templates": ["a {}", "some {}"],
        "frame_at": None,
    }


# The paper's figures


def test_the_papers_figures_by_row_task_and_metric():
    main = paper_figures("3", "4")
    assert len(main) == 16
    assert main["ImageBind++ (Versatile)"]["audiocaps"] == {"R@1": 29.16, "R@5": 62.98}
    assert main["ImageBind++ (Versatile)"]["audioset"] == {"mAP": 19.69}
    assert "coco" not in main["CLAP general"]
    assert paper_figures("9")["Ex-MCR, displacement"]["vggss"] == {"R@1": 8.78}
    assert paper_figures("7")["both"]["esc50"] == {"top-1": 88.55}
    with pytest.raises(FreeBindError, match=r"no table of the paper with figures '2'"):
        paper_figures("2")


def test_every_figure_of_the_paper_belongs_to_a_task():
    for number in "3456789":
        for by_task in paper_figures(number).values():
            for task, figures in by_task.items():
                assert set(figures) <= set(PAPER_TASKS[task].metrics)


def test_our_rows_find_the_papers(space):
    assert paper_row("clap_music") == "CLAP music"
    named = space.named("imagebind_pp")
    assert paper_row(named.at("at_expertise")) == "ImageBind++ (AT-Expertise)"
    assert paper_row(named.at({"audio": 0.3, "text": 0.2})) == ""
    assert paper_row("mean") == paper_row(space) == ""


def test_the_papers_figures_stand_beside_ours(space, test_banks):
    sets = {"audiocaps": test_banks}
    rows = {"imagebind": "imagebind", "mine": space.named("imagebind_pp").at("versatile")}
    table = tabulate(rows, sets, tasks=["audiocaps"], bootstrap=FEW)
    task = table.tasks[0]
    assert task == PAPER_TASKS["audiocaps"]
    assert table.paper_value("imagebind", task, "R@1") == 9.24
    assert table.paper_value("mine", task, "R@5") == 62.98
    fifth = tabulate({"+Cr(InternVL)": space}, sets, paper="5", bootstrap=FEW)
    assert fifth.paper_value("+Cr(InternVL)", task, "R@1") == 9.25
    named = tabulate({"x": space}, sets, paper={"x": "Ex-MCR"}, bootstrap=FEW)
    assert named.paper_value("x", task, "R@1") == 19.07
