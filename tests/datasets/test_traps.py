"""What is easily taken for the right thing: other versions, other numberings, damaged lists."""

import json
import os

import numpy as np
import pytest

from fb_jax.datasets import Choice, read_content
from fb_jax.errors import FreeBindError
from tests.datasets.conftest import CHOICES
from tests.datasets.layouts import CLIPS, imagenet, karpathy, picture, rows, sentences, wav


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def ids(name, root, modality, choice=None):
    items = read_content(name, root, choice or CHOICES.get(name, Choice())).tables.items
    return [item["id"] for item in items[modality]]


def test_audiocaps_2_is_refused(official):
    root = official("audiocaps")
    for word in ("Rain", "Wind"):
        edit(root / "dataset/test.csv", word, word.lower())
    with pytest.raises(FreeBindError, match=r"AudioCaps 2\.0(.|\n)*4 of 6 captions"):
        read_content("audiocaps", root)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("audiocaps", "dataset/test.csv"),
        ("clotho", "clotho_captions_evaluation.csv"),
        ("esc50", "meta/esc50.csv"),
        ("audioset", "class_labels_indices.csv"),
    ],
)
def test_a_list_whose_header_is_gone_is_refused(official, name, file):
    path = official(name) / file
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(FreeBindError, match="first line is gone") as raised:
        read_content(name, path.parents[file.count("/")])
    assert "columns " in str(raised.value)


def test_old_columns_of_esc50_are_refused(official):
    root = official("esc50")
    edit(root / "meta/esc50.csv", "target,category", "category,category_name")
    with pytest.raises(FreeBindError, match=r"another version(.|\n)*filename, fold, target"):
        read_content("esc50", root)


@pytest.mark.parametrize(
    ("name", "path", "old", "new", "message"),
    [
        ("esc50", "meta/esc50.csv", "A-0.wav,5,0,dog", "A-0.wav,5,3,dog", "two targets"),
        ("esc50", "meta/esc50.csv", ",29,", ",0,", "two categories"),
        ("audiocaps", "dataset/test.csv", "4,Yabcdefghij,30", "4,Yabcdefghij,60", "two starts"),
        ("coco", "dataset_coco.json", '"cocoid"', '"other"', "no cocoid"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(official, name, path, old, new, message):
    root = official(name)
    edit(root / path, old, new)
    with pytest.raises(FreeBindError, match=message):
        read_content(name, root)


def test_clips_of_audiocaps_last_ten_seconds(official):
    root = official("audiocaps")
    (root / f"audio/{CLIPS[0]}.wav").rename(root / f"audio/{CLIPS[0]}_30000_40000.wav")
    assert read_content("audiocaps", root).missing == []


def test_a_label_that_stands_twice_counts_once(official):
    root = official("audioset")
    edit(root / "eval_segments.csv", '"/m/09x0r', '"/m/09x0r,/m/09x0r')
    assert len(read_content("audioset", root).tables.pairs["audio", "class"]) == 4


def test_a_class_with_two_names_is_refused(official):
    root = official("audioset")
    with (root / "class_labels_indices.csv").open("a") as file:
        file.write("3,/m/09x0r,Another\n")
    with pytest.raises(FreeBindError, match="a class has two names"):
        read_content("audioset", root)


def test_empty_captions_are_told(official, caplog):
    root = official("audiocaps")
    edit(root / "dataset/test.csv", '"Rain number 0, loud"', "")
    read_content("audiocaps", root)
    assert "1 items have an empty caption, such as -BC_1234567" in caplog.text


def test_a_target_that_is_no_number_is_refused_with_its_line(official):
    root = official("esc50")
    edit(root / "meta/esc50.csv", "A-0.wav,5,0,dog", "A-0.wav,5,x,dog")
    with pytest.raises(FreeBindError, match=r"no number\n.*esc50.csv, .*A-0.wav(.|\n)*got: +x"):
        read_content("esc50", root)


def test_a_file_that_is_no_list_of_karpathy_is_refused(official):
    root = official("coco")
    (root / "dataset_coco.json").write_text("{}")
    with pytest.raises(FreeBindError, match=r"no list of Karpathy(.|\n)*`images`(.|\n)*fix"):
        read_content("coco", root)


def test_vggss_test_csv_has_no_header_and_holds_the_same_clips(official):
    root = official("vggss")
    of_json = ids("vggss", root, "audio")
    (root / "metadata/vggss.json").unlink()
    (root / "metadata/vggss_test.csv").write_text("".join(f"{clip}\n" for clip in of_json))
    assert ids("vggss", root, "audio") == of_json
    edit(root / "metadata/vggss_test.csv", of_json[0], f"file\n{of_json[0]}")
    with pytest.raises(FreeBindError, match=r"no id of a clip(.|\n)*no first line(.|\n)*'file'"):
        read_content("vggss", root)


def test_ids_that_begin_with_a_dash_are_read_and_named_if_they_are_missing(official, caplog):
    root = official("audiocaps")
    (root / f"audio/{CLIPS[0]}.wav").unlink()
    assert ids("audiocaps", root, "audio") == list(CLIPS[1:])
    assert f"1 of the missing ids begin with -, such as {CLIPS[0]}" in caplog.text


def test_ids_that_a_spreadsheet_has_damaged_are_refused(official):
    root = official("audiocaps")
    edit(root / "dataset/test.csv", CLIPS[0], "#NAME?")
    with pytest.raises(FreeBindError, match=r"no id of a YouTube video(.|\n)*spreadsheets"):
        read_content("audiocaps", root)


@pytest.mark.parametrize(
    "file", ["{}", "Y{}", "{}_30", "Y{}_30", "{}_30000_40000", "Y{}_30000_40000"]
)
def test_a_clip_is_found_under_the_names_of_usual_downloaders(official, file):
    root = official("audioset")
    for path in (root / "eval").iterdir():
        path.unlink()
    wav(root / f"audio/{file.format(CLIPS[1])}.flac")
    assert ids("audioset", root, "audio") == [CLIPS[1]]


def test_the_first_suffix_counts_and_an_empty_file_is_missing(official):
    root = official("clotho")
    for name in ("a.b.c.flac", "a.b.c.mp3", "a.b.c.json"):
        (root / "evaluation" / name).write_bytes(b"x")
    paths = lambda: [i["path"] for i in read_content("clotho", root).tables.items["audio"]]  # noqa: E731
    assert paths()[1] == "evaluation/a.b.c.wav"
    (root / "evaluation/a.b.c.wav").write_bytes(b"")
    assert paths()[1] == "evaluation/a.b.c.flac"


def test_accents_may_be_spelled_as_on_macos(official):
    root = official("clotho")
    (root / "evaluation/Caf\u00e9.wav").rename(root / "evaluation/Cafe\u0301.wav")
    items = read_content("clotho", root).tables.items["audio"]
    assert items[2] == {"id": "Caf\u00e9.wav", "path": "evaluation/Caf\u00e9.wav"}


def test_a_label_that_is_no_class_is_refused(official):
    root = official("audioset")
    edit(root / "eval_segments.csv", "/m/0k4j", "/m/0")
    with pytest.raises(FreeBindError, match=r"a label is no class\n(.|\n)*line 4"):
        read_content("audioset", root)


@pytest.mark.parametrize("line", ["abc", f"{CLIPS[0]}, x, 40.000, /m/0k4j", 'x, "1'])
def test_a_damaged_line_of_audioset_is_named(official, line):
    root = official("audioset")
    with (root / "eval_segments.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FreeBindError, match=r"eval_segments\.csv"):
        read_content("audioset", root)


def test_an_item_that_is_listed_twice_is_refused(official):
    root = official("esc50")
    with (root / "meta/esc50.csv").open("a") as file:
        file.write("5-9032-A-0.wav,5,0,dog,True,9032,A\n")
    with pytest.raises(FreeBindError, match="a list has an item twice"):
        read_content("esc50", root)


def test_an_item_without_one_of_two_media_is_left_out(official):
    root = official("flickrnet")
    (root / "frames/10007936344.jpg").unlink()
    found = read_content("flickrnet", root)
    assert [i["id"] for i in found.tables.items["audio"]] == ["999", "10000130166"]
    gone = {"id": "10007936344", "modality": "image", "path": "frames/10007936344.jpg"}
    assert found.missing == [gone]


def test_the_short_list_of_flickrnet_is_a_subset(official):
    root = official("flickrnet")
    (root / "flickr_test.csv").write_text("999,3\n10000130166,202")
    assert ids("flickrnet", root, "image", Choice(subset="test")) == ["999", "10000130166"]


def test_frames_of_flickrnet_may_lie_in_folders_of_videos(official):
    root = official("flickrnet")
    (root / "999.mp4").mkdir()
    (root / "frames/999.jpg").rename(root / "999.mp4/frame1.jpg")
    paths = [i["path"] for i in read_content("flickrnet", root).tables.items["image"]]
    assert paths[0] == "999.mp4/frame1.jpg"


def test_a_picture_of_vggss_is_a_frame_or_else_the_video_at_5_seconds(official):
    root = official("vggss")
    assert read_content("vggss", root).about["frame_at"] is None
    (root / "video").mkdir()
    (root / f"frames/{CLIPS[1]}_000030.jpg").unlink()
    (root / f"video/{CLIPS[1]}_30000_40000.mp4").write_bytes(b"a video")
    found = read_content("vggss", root)
    assert found.about["frame_at"] == 5.0
    assert found.tables.items["image"][1]["path"] == f"video/{CLIPS[1]}_30000_40000.mp4"


@pytest.mark.parametrize(("most", "counts"), [(None, 15), (0, 16), (2, 6)])
def test_the_first_five_captions_of_coco_are_taken_unless_asked_otherwise(official, most, counts):
    found = read_content("coco", official("coco"), Choice(captions=most))
    assert len(found.tables.items["text"]) == counts
    assert found.about["captions"] == (5 if most is None else most)
    assert found.about["counts"]["listed"] == {"image": 3, "text": 16}


def test_coco_in_its_own_form_and_under_the_names_of_2017(official):
    root = official("coco")
    of_karpathy = read_content("coco", root).tables
    whole = json.loads((root / "dataset_coco.json").read_text())["images"]
    test = [image for image in whole if image["split"] == "test"]
    images = [{"id": image["cocoid"], "file_name": image["filename"]} for image in test]
    annotations = [
        {"image_id": image["cocoid"], "caption": sentence["raw"]}
        for image in test
        for sentence in image["sentences"]
    ]
    (root / "dataset_coco.json").unlink()
    listed = {"images": images, "annotations": annotations}
    (root / "coco_test_karpathy.json").write_text(json.dumps(listed))
    (root / "val2014").rename(root / "val2017")
    for path in (root / "val2017").iterdir():
        path.rename(path.with_name(path.name.rpartition("_")[2]))
    of_coco = read_content("coco", root).tables
    assert of_coco.items["text"] == of_karpathy.items["text"]
    assert of_coco.items["image"][0] == {"id": "391895", "path": "val2017/000000391895.jpg"}


def test_a_list_of_karpathy_of_another_data_set_is_refused(official):
    root = official("coco")
    images = [{"filename": "1.jpg", "split": "test", "sentences": sentences("x")}]
    (root / "dataset_coco.json").write_text(karpathy("flickr30k", images))
    with pytest.raises(FreeBindError, match=r"another data set(.|\n)*flickr30k"):
        read_content("coco", root)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vggss", "metadata/vggss.json"),
        ("coco", "dataset_coco.json"),
        ("flickr30k", "dataset_flickr30k.json"),
    ],
)
@pytest.mark.parametrize("content", ["[", "{}", "[3]", "null"])
def test_a_damaged_list_in_json_is_refused(official, name, file, content):
    root = official(name)
    (root / file).write_text(content)
    with pytest.raises(FreeBindError, match=r"\.json"):
        read_content(name, root)


def test_the_text_of_flickr30k_is_split_at_its_first_jpg(official):
    root = official("flickr30k")
    (root / "dataset_flickr30k.json").unlink()
    path = root / "flickr30k_test_karpathy.txt"
    path.write_text('image,caption\n1000.jpg,A man, a plan\n1000.jpg,"B", in b.jpg, too\n')
    texts = read_content("flickr30k", root).tables.items["text"]
    assert [text["caption"] for text in texts] == ["A man, a plan", '"B", in b.jpg, too']
    path.write_text("1000.jpg,A man\n")
    with pytest.raises(FreeBindError, match=r"line 1\n(.|\n)*names of columns"):
        read_content("flickr30k", root)


def classes_of(root, choice=CHOICES["imagenet"]):
    """Return picture to the id of its class, and the ids of the classes in order."""
    tables = read_content("imagenet", root, choice).tables
    classes = [item["id"] for item in tables.items["class"]]
    labels = {row: classes[label] for label, row in tables.pairs["class", "image"]}
    return {tables.items["image"][row]["id"][-1]: name for row, name in labels.items()}, classes


LABELS = {"1": "n01751748", "2": "n02119789", "3": "n01440764", "4": "n01751748"}
CLASSES = ["n01440764", "n01751748", "n02119789"]


def test_numbers_of_the_kit_are_no_numbers_of_sorted_classes(official):
    assert classes_of(official("imagenet")) == (LABELS, CLASSES)


def kaggle(root):
    """Turn the kit into Kaggle's lists, which are in no order."""
    (root / "ILSVRC2012_devkit_t12").rename(root / "unused")
    os.makedirs(root / "ILSVRC/Data/CLS-LOC")  # noqa: PTH103
    (root / "val").rename(root / "ILSVRC/Data/CLS-LOC/val")
    words = ["n01440764 tench, Tinca tinca", "n01751748 sea snake", "n02119789 kit fox, Vulpes"]
    (root / "LOC_synset_mapping.txt").write_text("\n".join(words) + "\n")
    lines = [(f"ILSVRC2012_val_0000000{k}", f"{LABELS[k]} 1 2 3 4 ") for k in "3142"]
    rows(root / "LOC_val_solution.csv", ("ImageId", "PredictionString"), *lines)


def folders(root):
    """Sort the pictures into folders of WordNet ids."""
    (root / "ILSVRC2012_devkit_t12").rename(root / "unused")
    for path in list((root / "val").iterdir()):
        folder = root / "val" / LABELS[path.stem[-1]]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)


@pytest.mark.parametrize("layout", [kaggle, folders])
def test_other_layouts_of_imagenet_give_the_same_items_and_labels(official, tmp_path, layout):
    root = official("imagenet")
    (tmp_path / "names.txt").write_text("tench\nsea snake\nkit fox\n")
    choice = Choice(templates=("a {c}",), class_names=str(tmp_path / "names.txt"))
    before = read_content("imagenet", root, choice).tables
    layout(root)
    after = read_content("imagenet", root, choice).tables
    assert classes_of(root, choice) == (LABELS, CLASSES)
    assert after.items["text"] == before.items["text"]
    assert [i["id"] for i in after.items["image"]] == [i["id"] for i in before.items["image"]]
    np.testing.assert_array_equal(after.pairs["class", "image"], before.pairs["class", "image"])


def test_a_picture_in_the_folder_of_another_class_is_missing(official):
    root = official("imagenet")
    (root / "val/n02119789").mkdir()
    name = "ILSVRC2012_val_00000001.JPEG"
    (root / "val" / name).rename(root / "val/n02119789" / name)
    assert "1" not in classes_of(root)[0]


def test_folders_of_imagenet_know_no_names(official):
    root = official("imagenet")
    folders(root)
    with pytest.raises(FreeBindError, match=r"no names of classes(.|\n)*--class-names"):
        read_content("imagenet", root, CHOICES["imagenet"])


@pytest.mark.parametrize("number", ["0", "4", "x"])
def test_labels_that_are_no_numbers_of_the_kit_are_refused(official, number):
    root = official("imagenet")
    path = root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    path.write_text(f"3\n{number}\n")
    with pytest.raises(FreeBindError, match=rf"another numbering(.|\n)*got: +{number}\n"):
        read_content("imagenet", root, CHOICES["imagenet"])


def test_the_first_of_all_pictures_is_a_sea_snake(official, monkeypatch):
    monkeypatch.setattr("fb_jax.datasets.imagenet.PICTURES", 4)
    root = official("imagenet")
    assert classes_of(root)[0] == LABELS
    imagenet(root, truth=(2, 1, 2, 3))  # numbers of sorted ids, from 1
    with pytest.raises(FreeBindError, match=r"another numbering(.|\n)*sea snake"):
        read_content("imagenet", root, CHOICES["imagenet"])


def test_a_damaged_meta_mat_is_refused(official):
    root = official("imagenet")
    (root / "ILSVRC2012_devkit_t12/data/meta.mat").write_bytes(b"no matlab" * 40)
    with pytest.raises(FreeBindError, match=r"meta\.mat cannot be read"):
        read_content("imagenet", root, CHOICES["imagenet"])


def test_a_label_of_kaggle_that_is_no_class_is_refused(official):
    root = official("imagenet")
    kaggle(root)
    edit(root / "LOC_val_solution.csv", "n02119789", "n99999999")
    with pytest.raises(FreeBindError, match=r"a label is no class(.|\n)*n99999999"):
        read_content("imagenet", root, CHOICES["imagenet"])


def test_an_unknown_subset_names_the_known_ones(official):
    root = official("clotho")
    with pytest.raises(FreeBindError, match=r"no subset 'test'(.|\n)*development, evaluation"):
        read_content("clotho", root, Choice(subset="test"))


def test_a_subset_has_its_own_list_and_folder_and_no_count_of_the_paper(official):
    root = official("clotho")
    (root / "clotho_captions_evaluation.csv").rename(root / "clotho_captions_validation.csv")
    (root / "evaluation").rename(root / "validation")
    found = read_content("clotho", root, Choice(subset="validation"))
    assert found.tables.items["audio"][0]["path"] == "validation/Rain, heavy (1).wav"
    assert found.about["counts"]["paper"] == {}


def test_a_name_that_leads_out_of_the_folder_is_refused(official, tmp_path):
    root = official("clotho")
    wav(tmp_path / "official/a.wav")
    edit(root / "clotho_captions_evaluation.csv", "a.b.c.wav", "../../a.wav")
    with pytest.raises(FreeBindError, match=r"leads out of the folder(.|\n)*\.\./\.\./a"):
        read_content("clotho", root)


def test_a_picture_is_found_below_images(official):
    root = official("coco")
    (root / "images").mkdir()
    (root / "val2014").rename(root / "images/val2014")
    picture(root / "images/val2014/unlisted.jpg")
    assert ids("coco", root, "image") == ["391895", "42", "7"]
