from __future__ import annotations

import pytest

from genas.spaces import DARTS, GENOTYPES

SPACE = DARTS()

# As published, in their authors' order; the inputs of a node are not sorted.
PUBLISHED = {
    "DARTS_V1": """Genotype(
        normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
                ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],
        normal_concat=[2, 3, 4, 5],
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),
                ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],
        reduce_concat=[2, 3, 4, 5])""",
    "DARTS_V2": """Genotype(
        normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),
                ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],
        normal_concat=[2, 3, 4, 5],
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1),
                ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],
        reduce_concat=[2, 3, 4, 5])""",
    "PC_DARTS_CIFAR": """Genotype(
        normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1),
                ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)],
        normal_concat=range(2, 6),
        reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2),
                ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)],
        reduce_concat=range(2, 6))""",
    "PC_DARTS_IMAGENET": """Genotype(
        normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), ('skip_connect', 1),
                ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)],
        normal_concat=range(2, 6),
        reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 1),
                ('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)],
        reduce_concat=range(2, 6))""",
}
DARTS_V2 = SPACE.format(SPACE.parse("DARTS_V2"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_in_their_published_order(name: str) -> None:
    assert SPACE.parse(PUBLISHED[name]) == SPACE.parse(name) == SPACE.parse(GENOTYPES[name])


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_named_genotype_is_valid_in_both_vocabularies(name: str) -> None:
    architecture = SPACE.parse(name)
    assert SPACE.parse(name.lower().replace("_", "-")) == architecture
    assert DARTS("darts7").parse(name) == architecture
    assert SPACE.parse(SPACE.format(architecture)) == architecture


def test_the_names() -> None:
    assert len(GENOTYPES) == 8
    assert len(set(map(SPACE.parse, GENOTYPES))) == 8


def test_canonical_text() -> None:
    assert SPACE.format(SPACE.parse(PUBLISHED["DARTS_V2"])) == (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
        "normal_concat=[2, 3, 4, 5], "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('max_pool_3x3', 1), ('skip_connect', 2), "
        "('max_pool_3x3', 0), ('skip_connect', 2), ('max_pool_3x3', 1), ('skip_connect', 2)], "
        "reduce_concat=[2, 3, 4, 5])"
    )


def test_fields_in_any_order_and_pairs_as_lists() -> None:
    head, reduction = DARTS_V2.removesuffix(")").split(", reduce=")
    text = f"  Genotype( reduce={reduction}, {head.removeprefix('Genotype(')} )\n"
    assert SPACE.parse(text) == SPACE.parse("DARTS_V2")
    assert SPACE.parse(DARTS_V2.replace("('dil_conv_3x3', 2)", '["dil_conv_3x3", 2]')) == SPACE.parse("DARTS_V2")


@pytest.mark.parametrize("separator", [",", ", ", " "])
def test_genes(separator: str) -> None:
    architecture = SPACE.parse("GENAS_FLATNESS_C10")
    normal, reduction = (separator.join(map(str, genes)) for genes in SPACE.split(architecture))
    assert SPACE.parse(f"{normal} / {reduction}") == SPACE.parse(f"{normal}{separator}{reduction}") == architecture


def test_noise_belongs_to_s4_only() -> None:
    text = DARTS_V2.replace("skip_connect", "noise").replace("dil_conv_3x3", "noise").replace("max_pool_3x3", "noise")
    s4 = DARTS("s4")
    assert set(s4.parse(text)) == {0, 4, 8}
    assert s4.parse(s4.format(s4.parse(text))) == s4.parse(text)
    with pytest.raises(
        ValueError, match=r"must be one of none, .*dil_conv_5x5, but got 'noise' at node 4 of the normal"
    ):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "dil_conv_3x3",
            "dil_conv_3x4",
            r"got 'dil_conv_3x4' at node 5 of the normal cell\. Did you mean 'dil_conv_3x3'\?",
        ),
        ("'dil_conv_3x3'", "7", r"Every operation must be one of none, .* but got 7 at node 5 of the normal cell"),
        (
            "'dil_conv_3x3', 2",
            "'dil_conv_3x3', 5",
            r"must be an earlier node \(0 \.\. 4\), but got \('dil_conv_3x3', 5\) at node 5",
        ),
        (
            "'dil_conv_3x3', 2",
            "'dil_conv_3x3', -1",
            r"must be an earlier node \(0 \.\. 4\), but got \('dil_conv_3x3', -1\)",
        ),
        ("'dil_conv_3x3', 2", "'dil_conv_3x3', 0", r"node 5 of the normal cell reads node 0 twice"),
        (
            "'dil_conv_3x3', 2",
            "'dil_conv_3x3', 2.0",
            r"must be a pair \(operation, source\), but got \('dil_conv_3x3', 2\.0\)",
        ),
        (
            "('dil_conv_3x3', 2)",
            "'dil_conv_3x3'",
            r"must be a pair \(operation, source\), but got 'dil_conv_3x3' at node 5",
        ),
        (", ('dil_conv_3x3', 2)", "", r"normal cell must have 8 .* pairs, two for each of its nodes, but got 7"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2), ('sep_conv_3x3', 1)", r"must have 8 .* pairs, .* but got 9"),
        (
            "'dil_conv_3x3', 2",
            "'none', 2",
            r"must list live inputs only, but got \('none', 2\) at node 5 of the normal",
        ),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=[3, 4, 5]",
            r"normal_concat must be \[2, 3, 4, 5\] .* but got \[3, 4, 5\]",
        ),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=range(2, 7)",
            r"normal_concat must be .* but got \[2, 3, 4, 5, 6\]",
        ),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=['a', 2]",
            r"normal_concat must be \[2, 3, 4, 5\] .* but got \['a', 2\]",
        ),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=4", r"field normal_concat must be a list, but got 4"),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=range(10**9)",
            r"normal_concat must hold plain names and numbers only",
        ),
        (
            "normal_concat=[2, 3, 4, 5]",
            "normal_concat=range(999999999)",
            r"normal_concat must hold plain names and numbers",
        ),
        ("normal_concat=[2, 3, 4, 5], ", "", r"must have the fields normal, normal_concat, reduce, reduce_concat"),
        ("normal_concat=[2, 3, 4, 5]", "[2, 3, 4, 5]", r"is not well formed"),
        ("normal=", "", r"must have the fields"),
        ("reduce_concat", "**reduce_concat", r"is not well formed"),
        (
            "reduce=",
            "shrink=",
            r"must have the fields normal, normal_concat, reduce, reduce_concat, each as name=value",
        ),
        (
            "reduce=[",
            "reduce=[__import__('os').getcwd(), ",
            r"must hold plain names and numbers only, but got \[__import__",
        ),
        (
            "Genotype(",
            "Genotyp(",
            r"must be a genotype like Genotype\(normal=.* or one of DARTS_V1, .* but got .Genotyp\(",
        ),
        ("reduce_concat=[2, 3, 4, 5])", "reduce_concat=[2, 3, 4, 5]", r"is not well formed"),
    ],
)
def test_bad_genotypes(old: str, new: str, message: str) -> None:
    assert old in DARTS_V2
    with pytest.raises(ValueError, match=message):
        SPACE.parse(DARTS_V2.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "DARTS_V3",
            r"28 comma-separated genes, or one of DARTS_V1, .*, but got 'DARTS_V3'\. Did you mean 'DARTS_V[12]'\?",
        ),
        ("", r"28 comma-separated genes, or one of .*, but got ''\.$"),
        ("1,2,3", r"must have 28 genes, but got 3"),
        ("4 4 4 / 4 4", r"A slash must separate 14 genes .* but separates \[3, 2\]"),
        (
            GENOTYPES["DARTS_V2"].replace("4 4 4 4 0", "4 4 4 4 4"),
            r"Node 3 of the normal cell must have exactly two live inputs",
        ),
        (
            GENOTYPES["DARTS_V2"].replace("6", "8"),
            r"Gene 11 \(edge 2 -> 5 of the normal cell\) of darts must be one of",
        ),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.parse(text)


def test_genotype_outside_the_variant() -> None:
    with pytest.raises(
        ValueError, match=r"Gene 11 \(edge 2 -> 5 of the normal cell\) of s2 must be one of 0 \(none\), 3 "
    ):
        DARTS("s2").parse("DARTS_V2")
