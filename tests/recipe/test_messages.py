"""One golden message for each mistake that a person can make in a recipe."""

# ruff: noqa: E501 - a golden message stands on its line whole

from __future__ import annotations

from pathlib import Path

import pytest

from pcsearch.errors import UserError
from pcsearch.recipe import load_recipe, load_recipes
from tests.recipe.recipes import MINIMAL, write

# lines 1 to 3 are MINIMAL's, so an added line is number 4
IN_A_FILE = [
    ("search: {lamda_over_n: 0.1}", '4: search.lamda_over_n: unknown key, did you mean "lambda_over_n"?'),
    ("image: {rotate: 3}", "4: image.rotate: unknown key (known here: resize, crop, aspect, flip, random_resized_crop, rand_augment, trivial_augment, color_jitter, random_erasing, mean, std, per_dataset)"),
    ("search: {max_epochs: 3}", '4: search.max_epochs: unknown key, did you mean "asha.max_epochs"?'),
    ("train: {seed: 3}", '4: train.seed: unknown key, did you mean "search.seed" or "data.fieldguide.seed"?'),
    ("image: {size: 3}", '4: image.size: unknown key, did you mean "resize"?'),
    ("extend: quickstart", '4: extend: unknown key, did you mean "extends"?'),
    ("backbone_options: {resnet50: {aux: true}}", '4: backbone_options.resnet50.aux: resnet50 has no option "aux" (its options: groups, width_per_group, zero_init_residual)'),
    ("lambda_over_n: 0.1", '4: lambda_over_n: unknown key, did you mean "search.lambda_over_n"?'),
    ("train:\n  per_backbone: {resnet50: {mometum: 0}}", '5: train.per_backbone.resnet50.mometum: unknown key, did you mean "momentum"?'),
    ("search: {trials: many}", '4: search.trials is "many", but must be a whole number'),
    ("search:\n  trials: 0", "5: search.trials is 0, but must be at least 1"),
    ("search: {trials: true}", "4: search.trials is true, but must be a number"),
    ("search: [1]", "4: search is [1], but must be a mapping of keys"),
    ("search: {lambda_over_n: [0.15, 0.05]}", "4: search.lambda_over_n is [0.15, 0.05], but must be [low, high] with low below high"),
    ("search: {lambda_over_n: [0.1, 0.1]}", "4: search.lambda_over_n is [0.1, 0.1], but must be [low, high] with low below high (a single number fixes it)"),
    ("search: {lambda_over_n: -0.1}", "4: search.lambda_over_n is -0.1, but must be a number, 0 or more"),
    ("search: {lambda_over_n: [-0.1, 0.1]}", "4: search.lambda_over_n has a lower end that is -0.1, but must be a number, 0 or more"),
    ("search: {lambda_over_n: {low: 0, high: 1, log: true}}", "4: search.lambda_over_n has a lower end of 0, but must be greater than 0 with log: true"),
    ("search: {lambda_over_n: {low: 0}}", "4: search.lambda_over_n is {low: 0}, but must be a number, [low, high], {low: , high: , log: true} or {choices: [...]}"),
    ("search: {lambda_over_n: null}", "4: search.lambda_over_n is null, but must be a number, [low, high], {low: , high: , log: true} or {choices: [...]}"),
    ("search: {lr: .inf}", "4: search.lr is inf, but must be auto, a number, [low, high], {low: , high: , log: true} or {choices: [...]}"),
    ("search: {lr: 0}", "4: search.lr is 0, but must be a number, greater than 0"),
    ("search: {batch_size: [8, 16, 32]}", "4: search.batch_size is [8, 16, 32], but a list must be [low, high]; to choose among values write {choices: [...]}"),
    ("search: {batch_size: {choices: [8, 8]}}", "4: search.batch_size is [8, 8], but its values must differ"),
    ("search: {batch_size: 1}", "4: search.batch_size is 1, but must be a whole number, 2 or more"),
    ("search: {label_smoothing: [0.1, 1]}", "4: search.label_smoothing has an upper end that is 1, but must be a number, 0 or more and below 1"),
    ("search: {sampler: tpee}", '4: search.sampler is "tpee", but must be one of tpe, gp, random, grid, qmc, did you mean "tpe"?'),
    ("search: {control: match}", '4: search.control is "match", but must be one of matched, single, none, did you mean "matched"?'),
    ("search: {arms: [label_smothing]}", '4: search.arms: unknown arm "label_smothing", did you mean "label_smoothing"?'),
    ("search: {arms: [control, pc]}", "4: search.arms holds control: search.control says whether the control runs; leave it out"),
    ("search: {arms: [pc, pc]}", '4: search.arms names "pc" twice'),
    ("search: {arms: [], control: none}", '4: search.arms is empty, but search.control "none" needs at least one arm, as in [pc]'),
    ("search: {evaluate_on: test}", '4: search.evaluate_on is "test", but must be "validation": the test images are measured once, after λ is chosen; choosing by them would inflate their accuracy'),
    ("search: {sampler: grid}", "4: search.sampler is grid, but search.grid states no values to try: give some, as in grid: {lambda_over_n: [0.05, 0.1, 0.15], lr: [0.01, 0.1]}"),
    ("search: {prior: 3}", "4: search.prior is 3, but must be a list"),
    ("search: {prior: [a, a]}", '4: search.prior names "a" twice'),
    ('search: {prior: ["a\\nb"]}', '4: search.prior holds "a\\nb", which is not the name of a run'),
    ("search: {prior: first, trials: 1}", "4: search.prior is given, but search.trials is 1, and at most half of them are start points: give search.trials=2 or more"),
    ("search: {prior: first, sampler: grid, grid: {lr: [0.1], lambda_over_n: [0.1]}}", "4: search.prior is given, but search.sampler is grid, which tries its own values: leave one out"),
    ("search: {grid: {lr: [0.1]}}", '4: search.grid is given, but search.sampler is "tpe": set it to grid, or leave out search.grid'),
    ("search: {sampler: grid, grid: {lr: [0.1]}}", "4: search.grid has no values for lambda_over_n, but search.lambda_over_n is a range: list its values here, or give it one value"),
    ("search: {sampler: grid, grid: {lr: [0.1], lambda_over_n: [0.1], momentum: [1]}}", "4: search.grid.momentum is not a key to search"),
    ("search: {sampler: grid, grid: {lr: [0]}}", "4: search.grid is wrong for lr, which holds a value that is 0, but must be a number, greater than 0"),
    ("search: {startup_trials: 30}", "4: search.startup_trials is 30, but must be at most search.trials (20)"),
    ("search: {startup_trials: 0}", "4: search.startup_trials is 0, but must be at least 1"),
    ("search: {trials: 3, sampler: grid, grid: {lr: [0.1, 0.2, 0.3], lambda_over_n: [0.1, 0.2]}}", "4: search.trials is 3, but the grid has 6 points for pc: give search.trials=6, or fewer values in search.grid"),
    ("search: {trials: 1, sampler: grid, arms: [label_smoothing], label_smoothing: 0.1, grid: {lr: [0.1, 0.2]}}", "4: search.trials is 1, but the grid has 2 points for control: give search.trials=2, or fewer values in search.grid"),
    ("search: {per_backbone: {resnet5: {lr: 0.1}}}", '4: search.per_backbone.resnet5: "resnet5" is not among backbones, did you mean "resnet50"?'),
    ("train: {variant: euclidian}", '4: train.variant is "euclidian", but must be one of euclidean, norm, jeffreys, entropic, logit_margin, poly1, did you mean "euclidean"?'),
    ("train: {pairing: splitbatch}", '4: train.pairing is "splitbatch", but must be one of split_batch, two_shuffles, between_classes, did you mean "split_batch"?'),
    ("train: {schedule: cosin}", '4: train.schedule is "cosin", but must be one of linear, poly, cosine, step, constant, did you mean "cosine"?'),
    ("train: {optimizer: adam}", '4: train.optimizer is "adam", but must be sgd, adamw, did you mean "adamw"?'),
    ("train: {momentum: 1}", "4: train.momentum is 1, but must be less than 1"),
    ("train: {nesterov: true, momentum: 0}", "4: train.nesterov is true, but needs a momentum greater than 0"),
    ("train: {nesterov: true, optimizer: adamw}", "4: train.nesterov is true, but needs optimizer sgd, not adamw"),
    ("train: {per_backbone: {resnet50: {nesterov: true, optimizer: adamw}}}", "4: train.per_backbone.resnet50.nesterov is true, but needs optimizer sgd, not adamw"),
    ("search: {lr: auto, sampler: grid, grid: {lambda_over_n: [0.1]}}", "4: search.grid has no values for lr: search.lr is auto, a measured range, and sampler grid needs values, as in grid: {lr: [0.01, 0.1]}"),
    ("search: {lr: automatic}", '4: search.lr is "automatic", but must be auto, a number, [low, high], {low: , high: , log: true} or {choices: [...]}'),
    ("search: {lambda_over_n: auto}", '4: search.lambda_over_n is "auto", but must be a number, [low, high], {low: , high: , log: true} or {choices: [...]}'),
    ("train: {warmup_epochs: 1}", "3: asha.grace_epochs is 1, but must exceed train.warmup_epochs (1)"),
    ("train: {per_backbone: {resnet50: {head_only_epochs: 2}}}", "3: asha.grace_epochs is 1, but must exceed train.per_backbone.resnet50.head_only_epochs (2)"),
    ("search: {head_only_epochs: {choices: [0, 3]}}", "3: asha.grace_epochs is 1, but must exceed search.head_only_epochs (3)"),
    ("train: {head_only_epochs: 2, warmup_epochs: 0.5}", "3: asha.grace_epochs is 1, but must exceed train.head_only_epochs + train.warmup_epochs (2 + 0.5)"),
    ("image: {crop: 300}", "4: image.crop is 300, but must be at most image.resize (256)"),
    ("image: {per_dataset: {digits: {resize: 40}}}", "4: image.per_dataset.digits has crop 224, but it must be at most resize (40)"),
    ("image: {per_dataset: {digit: {flip: no}}}", '4: image.per_dataset.digit: unknown dataset "digit", did you mean "digits"?'),
    ("image: {mean: [0.5]}", "4: image.mean is [0.5], but must be three numbers: red, green, blue"),
    ("image: {std: [0.5, 0, 1]}", "4: image.std is 0, but must be greater than 0"),
    ("data: {images: /x}", "4: data.images is given, but datasets does not name images: add it, as in datasets=[images]"),
    ("data: {classes: [1]}", "4: data.classes is [1], but must hold at least two classes"),
    ("data: {classes: none}", '4: data.classes is "none", but must be "all" or a list of class ids or names'),
    ("data: {val_fraction: 1}", "4: data.val_fraction is 1, but must be less than 1"),
    ("data: {on_bad_image: ignore}", '4: data.on_bad_image is "ignore", but must be fail, skip'),
    ("data: {fieldguide: {specis: 3}}", '4: data.fieldguide.specis: unknown key, did you mean "species"?'),
    ("finalists: {configs: 2, repeats: 0}", "4: finalists.repeats is 0, but must be at least 1 for 2 finalists an arm (finalists.configs)"),
    ("train: {freeze: boddy}", '4: train.freeze is "boddy", but must be none, body, did you mean "body"?'),
    ("train: {freeze: body, mixup: 0.2}", "4: train.mixup is 0.2, but train.freeze is body, and features of mixed images cannot be computed once: give 0"),
    ("train: {freeze: body, layer_lr_decay: 0.9}", "4: train.layer_lr_decay is 0.9, but train.freeze is body, and no layer but the head trains: give 1"),
    ("search: {arms: [pc, pc+cutmix]}\ntrain: {freeze: body}", "4: search.arms holds pc+cutmix, but train.freeze is body, and features of mixed images cannot be computed once"),
    ("image: {random_erasing: 0.1}\ntrain: {freeze: body}", "4: image.random_erasing is on, but train.freeze is body: features of an image are computed once, of its centre crop and the mirror image. Set it to 0"),
    ("image: {per_dataset: {digits: {color_jitter: 0.1}}}\ntrain: {freeze: body}", "4: image.per_dataset.digits.color_jitter is on, but train.freeze is body: features of an image are computed once, of its centre crop and the mirror image. Set it to 0"),
    ("train: {amp: maybe}", '4: train.amp is "maybe", but must be one of true, false, cpu, auto'),
    ("resources: {gpus_per_trial: 1.5}", "4: resources.gpus_per_trial is 1.5, but must be at most 1: a trial trains on one GPU. More GPUs run more trials at once"),
    ("resources: {max_concurrent: 0}", '4: resources.max_concurrent is 0, but must be "auto" or a whole number, at least 1'),
    (
        "budget: {cost: 20}",
        "4: budget.cost is given without the price of a node: give budget.price_per_node_hour too",
    ),
    ("confirm: {seeds: 1, until: decided}", "4: confirm.seeds is 1, but must be at least 2 with confirm.until decided: one pair of trainings shows no scatter"),
    ("confirm: {seeds: 0, until: decided}", "4: confirm.seeds is 0, but must be at least 2 with confirm.until decided: one pair of trainings shows no scatter"),
    ("confirm: {seeds: 30, until: decided}", "4: confirm.seeds is 30, but must be at most confirm.max_seeds (20)"),
    ("confirm: {until: decide}", '4: confirm.until is "decide", but must be seeds, decided, did you mean "decided"?'),
    ("search: {trials: 3}\nconfirm: {until: 3}", '5: confirm.until is 3, but must be seeds, decided'),
    ("search: {widen: yes}", '4: search.widen is "yes", but must be auto, never'),
    ("budget: {hours: 0}", "4: budget.hours is 0, but must be greater than 0"),
    ("name: a/b", "4: name is \"a/b\", but must consist of letters, digits, '.', '_' and '-' and begin with a letter or a digit (it names a folder)"),
    ("name: ..", "4: name is \"..\", but must consist of letters, digits, '.', '_' and '-' and begin with a letter or a digit (it names a folder)"),
    ("name: .hidden", "4: name is \".hidden\", but must consist of letters, digits, '.', '_' and '-' and begin with a letter or a digit (it names a folder)"),
    (f"name: {'n' * 101}", "4: name has 101 characters, but must have at most 100 (it names a folder)"),
    ("weights: {vgg16: none}", '4: weights.vgg16: "vgg16" is not among backbones (known: resnet50)'),
    ("weights: imagent", '4: weights is "imagent", which is not a file, did you mean "imagenet"?'),
    ("weights: [a]", "4: weights is [a], but must be imagenet, none, a path to a state dict, or a mapping from backbones to these"),
    ("metric: top5", '4: metric is "top5", but must be top1, mean_class_top1, did you mean "top1"?'),
    ("datasets: [digits]", "4: datasets is given twice (first on line 1)"),
    ("weights: !!python/object:os.system x", "4: weights has the tag tag:yaml.org,2002:python/object:os.system, which recipes do not allow"),
    ("data: {<<: {root: x}}", '4: data: merge keys ("<<") are not allowed: use extends'),
    ("image: {flip: true", "5: cannot be read as YAML: expected ',' or '}', but got '<stream end>'"),
    ("extends: quickstrat", '4: extends is "quickstrat", but there is no such file or shipped recipe, did you mean "quickstart"?'),
    ("extends: 3", "4: extends is 3, but must be a recipe's path or name"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "message"), IN_A_FILE, ids=[added for added, _ in IN_A_FILE])
def test_mistake_in_a_file(tmp_path: Path, added: str, message: str) -> None:
    file = write(tmp_path, f"{MINIMAL}{added}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file)
    assert str(error.value) == f"{file}:{message}".replace("is [a]", 'is ["a"]')


INSTEAD = [
    ("datasets: [digts]\nbackbones: [resnet50]\nasha: {max_epochs: 9}", '1: datasets: unknown dataset "digts", did you mean "digits"?'),
    ("datasets:\n  - digits\n  - cub\nbackbones: [resnet50]\nasha: {max_epochs: 9}", '3: datasets: unknown dataset "cub"'),
    ("datasets: []\nbackbones: [resnet50]\nasha: {max_epochs: 9}", "1: datasets is empty, but must name at least one"),
    ("datasets: [images]\nbackbones: [resnet50]\nasha: {max_epochs: 9}", "1: datasets: dataset images needs a folder: give --images FOLDER, or data.images=FOLDER"),
    ("datasets: [digits]\nbackbones:\n  - resnet50\n  - resnet51\nasha: {max_epochs: 9}", '4: backbones: unknown backbone "resnet51", did you mean "resnet50"?'),
    ("datasets: [digits]\nbackbones: [zzz]\nasha: {max_epochs: 9}", '2: backbones: unknown backbone "zzz" (known: compact_cnn, bilinear_cnn, torchvision\'s classifiers by name'),
    ("datasets: [digits]\nbackbones: [res net]\nasha: {max_epochs: 9}", '2: backbones: "res net" must be the name of a backbone or module:function'),
    ("datasets: [digits, imagenet_dogs]\nbackbones: [resnet50, compact_cnn]\nweights: {compact_cnn: none}\nasha: {max_epochs: 9}", "3: weights is imagenet for resnet50, but these weights were trained on the images that validate imagenet_dogs: give weights=none, or data.allow_pretraining_overlap=true if that is meant"),
    ("datasets: [digits]\nbackbones: [compact_cnn]\nasha: {max_epochs: 9}", '1: weights: there are no imagenet weights for compact_cnn: use "none" or a path'),
    ("datasets: [digits]\nbackbones: [resnet50]", "1: asha.max_epochs: missing: every recipe needs it, as in asha.max_epochs=9"),
    ("datasets: [digits]\nbackbones: [resnet50]\nasha: {max_epochs: 3, grace_epochs: 4}", "3: asha.grace_epochs is 4, but must be at most asha.max_epochs (3)"),
    ("datasets: [digits]\nbackbones: [resnet50]\nasha: {max_epochs: 3, reduction_factor: 1}", "3: asha.reduction_factor is 1, but must be at least 2"),
    ("- a\n- b", '1: is ["a", "b"], but a recipe is a mapping of keys'),
    ("3", "1: is 3, but a recipe is a mapping of keys"),
    ("[" * 500, "1: is nested too deep for a recipe"),
    ("a: &a " + "[" + "x," * 90 + "x]\nb: &b [" + "*a," * 90 + "*a]\nc: [" + "*b," * 90 + "*b]", "1: holds too many values: its aliases (*name) repeat each other"),
    ("a: &a [*a]", "1: holds too many values: its aliases (*name) repeat each other"),
    ("a: \x07", "1: cannot be read as YAML: it holds a control character"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), INSTEAD, ids=[message for _, message in INSTEAD])
def test_mistake_in_a_whole_file(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_recipe(file)
    assert str(error.value).startswith(f"{file}:{message}")
    assert "\n" not in str(error.value)


OVERRIDES = [
    ("lambda_over_n=0.1", 'lambda_over_n: unknown key, did you mean "search.lambda_over_n"?'),
    ("search.lamda_over_n=1", 'search.lamda_over_n: unknown key, did you mean "lambda_over_n"?'),
    ("search.lr=[0.3,0.1]", "search.lr is [0.3, 0.1], but must be [low, high] with low below high"),
    ("data.classes=[1,2", "the value cannot be read as YAML; put text with special characters in quotes"),
    ("search.trials=", "search.trials has no value (write null for none)"),
    ("search.trials", "must be KEY=VALUE, as in search.trials=20"),
    ("search..trials=3", "must be KEY=VALUE, as in search.trials=20"),
    ("weights.resnet50=none", "weights.resnet50: cannot be set, because weights is \"imagenet\": set all of weights"),
    ("extends=quickstart", "extends is allowed only in a recipe file"),
    ("train.lr=0.1", "train.lr has no effect, because search.lr sets it: give search.lr instead"),
    ("backbones=[resnet51]", 'backbones: unknown backbone "resnet51", did you mean "resnet50"?'),
    ("asha.max_epochs=2", "asha.grace_epochs is 3, but must be at most asha.max_epochs (2)"),
    ("asha={max_epochs: 2}", "asha.grace_epochs is 3, but must be at most asha.max_epochs (2)"),
    ("train.warmup_epochs=3", "asha.grace_epochs is 3, but must exceed train.warmup_epochs (3)"),
    ("image.resize=30", "image.crop is 32, but must be at most image.resize (30)"),
    ("search.batch_size.low=64", "search.batch_size is [64, 32], but must be [low, high] with low below high"),
    ("train.per_backbone.resnet50.momentum=0", "train.nesterov is true, but needs a momentum greater than 0"),
    ("weights={vgg16: none}", 'weights.vgg16: "vgg16" is not among backbones (known: resnet50)'),
    ("name=null", "name is null, but must consist of letters, digits, '.', '_' and '-' and begin with a letter or a digit (it names a folder)"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[text for text, _ in OVERRIDES])
def test_mistaken_override(tmp_path: Path, override: str, message: str) -> None:
    file = write(
        tmp_path,
        MINIMAL.replace("max_epochs: 9", "max_epochs: 9, grace_epochs: 3")
        + "weights: imagenet\nsearch: {lr: 0.1, batch_size: {low: 8, high: 32}}\n"
        "image: {resize: 40, crop: 32}\ntrain: {nesterov: true}\n",
    )
    with pytest.raises(UserError) as error:
        load_recipe(file, [override])
    assert str(error.value) == f"override {override}: {message}"


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "name: x\ndatasets: [digts]\nsearch:\n  trials: -1\n  lrr: 3\n  lambda_over_n: [2, 1]\n"
        "asha: {grace_epochs: 0}\nimage: {resize: 32, crop: 40}\n",
    )
    with pytest.raises(UserError) as error:
        load_recipe(file, ["metric=top5", "train.variant=x"])
    assert [line.removeprefix(f"{file}:")[:40] for line in str(error.value).splitlines()] == [
        "1: backbones: missing: every recipe need",
        '2: datasets: unknown dataset "digts", di',
        "4: search.trials is -1, but must be at l",
        '5: search.lrr: unknown key, did you mean',
        "6: search.lambda_over_n is [2, 1], but m",
        "7: asha.max_epochs: missing: every recip",
        "7: asha.grace_epochs is 0, but must be a",
        "8: image.crop is 40, but must be at most",
        'override metric=top5: metric is "top5", ',
        'override train.variant=x: train.variant ',
    ]  # fmt: skip


def test_sources_that_are_no_recipes(tmp_path: Path) -> None:
    write(tmp_path, "", "empty.yaml")
    write(tmp_path, "# only a comment\n", "comment.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01\x80")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    expected = {
        "quickstrat": 'quickstrat: no such recipe, did you mean "quickstart"?',
        "cub200_small.yaml": 'cub200_small.yaml: no such recipe file, did you mean "cub200-small"?',
        "zzz": "zzz: no such recipe (pcsearch recipes ls lists the shipped ones)",
        str(tmp_path): f"{tmp_path}: is a folder: name the recipe file in it, such as {tmp_path}/big.yaml",
        str(tmp_path / "empty.yaml"): f"{tmp_path}/empty.yaml: is empty: a recipe needs",
        str(tmp_path / "comment.yaml"): f"{tmp_path}/comment.yaml: is empty: a recipe needs",
        str(tmp_path / "binary.yaml"): f"{tmp_path}/binary.yaml: is not UTF-8 text",
        str(tmp_path / "big.yaml"): f"{tmp_path}/big.yaml: is 1.0 MB, too large for a recipe",
        "/dev/null": "/dev/null: is not a regular file",
        "a" * 5000: 'no recipe "aaaa',
    }  # fmt: skip
    with pytest.raises(UserError) as error:
        load_recipes(list(expected))
    lines = str(error.value).splitlines()
    assert len(lines) == len(expected)
    for line, message in zip(lines, expected.values(), strict=True):
        assert line.startswith(message)


def test_no_source_at_all() -> None:
    with pytest.raises(UserError, match=r"no recipe is given: .*quickstart.*--images"):
        load_recipes([])
