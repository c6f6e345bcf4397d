#!/usr/bin/env python3
"""Makes `imagenet_classes.tsv`: the 1000 classes of ImageNet-1k, one a line: index, WordNet id, label, split by tabs.

The index is the position in the logits. The label is the first word of the WordNet synset with underscores for
spaces, the form that Keras' `decode_predictions` prints (`tabby`, `Egyptian_cat`). Two labels occur twice, as they do
in Keras: `crane` (the bird, the machine) and `maillot`; only the WordNet id is unique.

Source: the lists that timm carries in `timm/data/_info` (Apache-2.0); the words are WordNet's. See NOTICE.

    pip install timm
    python imagenet_classes.py                      # writes beside itself
"""

from pathlib import Path

from timm.data import ImageNetInfo

OUTPUT = Path(__file__).resolve().parent / "imagenet_classes.tsv"


def main():
    info = ImageNetInfo("imagenet-1k")
    if info.num_classes() != 1000:
        raise SystemExit(f"timm lists {info.num_classes()} classes, expected 1000")
    lines = []
    for index in range(info.num_classes()):
        first_word = info.index_to_description(index, detailed=False).split(", ")[0]
        lines.append(f"{index}\t{info.index_to_label_name(index)}\t{first_word.replace(' ', '_')}\n")
    OUTPUT.write_text("".join(lines), encoding="utf-8")
    print(f"{OUTPUT.name}: {len(lines)} classes")


if __name__ == "__main__":
    main()
