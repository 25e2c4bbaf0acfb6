"""Transformers models at toy size with random weights, and the files around them, in a folder."""

import json
import shutil
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tiny.tokenizers import write_llama
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from tests.encoders_torch.internvl_stand_in.modeling_stand_in import StandInConfig, StandInModel

LETTERS = "abcdefghijklmnopqrstuvwxyz :"
SIZE = 32
RATE = 8000
IMAGE = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.3, 0.25, 0.2],
    "resample": 3,
    "rescale_factor": 1 / 255,
}
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
PICTURES = {**TOWER, "image_size": SIZE, "patch_size": 8}
TEXTS = {**TOWER, "vocab_size": 40, "bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 0}


def save_tokenizer(folder: Path) -> None:
    """A token a letter, between a begin and an end."""
    vocab = {token: i for i, token in enumerate(["<pad>", "<s>", "<unk>", "</s>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)


def save_image_processor(folder: Path, kind: str) -> None:
    square = {"height": SIZE, "width": SIZE}
    size = {"shortest_edge": SIZE} if kind == "CLIP" else square
    crop = {"do_center_crop": True, "crop_size": square} if kind == "CLIP" else {}
    config = {**IMAGE, **crop, "size": size, "image_processor_type": f"{kind}ImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def save_clip(folder: Path) -> None:
    torch.manual_seed(0)
    text = {**TEXTS, "max_position_embeddings": 20}
    config = CLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    save_image_processor(folder, "CLIP")
    save_tokenizer(folder)


def save_siglip(folder: Path) -> None:
    torch.manual_seed(0)
    text = {**TEXTS, "max_position_embeddings": 20, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config=PICTURES)
    SiglipModel(config).save_pretrained(folder)
    save_image_processor(folder, "Siglip")
    save_tokenizer(folder)


def save_clap(folder: Path, fusion: bool = False) -> None:
    torch.manual_seed(0)
    bands = 64 if fusion else 16  # transformers shrinks long audio to 64 bands
    audio = {
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "spec_size": 4 * bands,
        "num_mel_bins": bands,
        "window_size": 4,
        "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None,
    }
    text = {**TEXTS, "max_position_embeddings": 90}
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=bands,
        sampling_rate=RATE,
        hop_length=64,
        fft_window_size=16 * bands,
        max_length_s=1,
        frequency_min=50,
        frequency_max=4000,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)
    save_tokenizer(folder)


def save_fused_clap(folder: Path) -> None:
    save_clap(folder, fusion=True)


def save_internvl(folder: Path) -> None:
    """A model folder with code of its own, as InternVL's, and a sentencepiece tokenizer."""
    torch.manual_seed(0)
    code = Path(__file__).parent / "internvl_stand_in/modeling_stand_in.py"
    classes = {"AutoConfig": "StandInConfig", "AutoModel": "StandInModel"}
    config = StandInConfig(auto_map={k: f"{code.stem}.{v}" for k, v in classes.items()})
    StandInModel(config).save_pretrained(folder)
    shutil.copy(code, folder)
    write_llama(folder)
    square = {**IMAGE, "size": 224, "crop_size": 224, "do_center_crop": True}
    config = {**square, "image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def save_sentence_transformer(folder: Path, tokens: int = 12, **options) -> None:
    """A BERT with mean pooling and normalisation, which cuts captions to this many tokens."""
    torch.manual_seed(0)
    bert = folder / "bert"
    BertModel(BertConfig(**TEXTS, max_position_embeddings=20)).save_pretrained(bert)
    save_tokenizer(bert)
    transformer = Transformer(str(bert), max_seq_length=tokens)
    shutil.rmtree(bert)
    modules = [transformer, Pooling(TEXTS["hidden_size"]), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", **options).save(
        str(folder), create_model_card=False
    )


def save_multimodal_sentence_transformer(folder: Path, kind: str) -> None:
    """One of the models of ``SAVE``, as sentence-transformers stores it."""
    SAVE[kind](folder / kind)
    model = SentenceTransformer(modules=[Transformer(str(folder / kind))], device="cpu")
    shutil.rmtree(folder / kind)
    model.save(str(folder), create_model_card=False)


SAVE = {
    "clip": save_clip,
    "siglip": save_siglip,
    "clap": save_clap,
    "fused_clap": save_fused_clap,
    "internvl": save_internvl,
}
"""How to write each, into a folder that is there."""
