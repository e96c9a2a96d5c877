"""Explains the words of a report to somebody who does not know the field."""

from collections.abc import Mapping
from typing import Any

from bct_keras.evaluate import report

METRICS = {
    "accuracy": "share of pairs rightly told as the same or another identity, at the threshold "
    "that is best on the other folds",
    "TAR@FAR": "true accept rate at a false accept rate: the share of pairs of one identity that "
    "are accepted, at the threshold where 1e-2 (one in a hundred) or 1e-3 (one in a thousand) "
    "pairs of two identities are accepted too",
    "top-k": "share of queries that have their own identity among the k most similar images of the "
    "gallery",
    "mAP": "mean average precision: 1 where all images of a query's identity come before all "
    "others",
    "Recall@k": "share of the images of a query's identity that are among the k most similar ones",
    "neighbours kept@k": "of the k items that the new encoder finds nearest in a gallery of its "
    "own, the share that is found here among the k nearest",
    "TPIR@FPIR": "true positive identification rate: the share of queries whose own identity comes "
    "first and above the threshold, where that one raises a false alarm for 1e-1 (one in ten) or "
    "1e-2 of the queries whose identity is not in the gallery",
}
# By the part of the report that has them
OTHERS = {
    "routes": {
        "adapted/old": "queries of the new encoder behind an adapter, a small map into the old "
        "encoder's space, in the old gallery",
        "fused/old": "queries that are the mean of the new encoder's and the old one's embedding "
        "of the same image, in the old gallery: both networks have to run for each query",
        "new/moved": "queries of the new encoder, in the old gallery whose embeddings an adapter "
        "has moved to the new encoder's space: every entry is rewritten, and no image is needed",
        "verdict on a route": "as that on new/old: whether these queries find more there than the "
        "old encoder's own find in its gallery",
    },
    "carried_over": {
        "threshold of today": "the cosine that old/old needs for that FAR. FAR becomes and TAR "
        "becomes say what it accepts of other queries; the calibrated threshold keeps the FAR",
    },
    "mixed": {
        "mixed gallery": "some entries are re-embedded by the new encoder and the others are not "
        "yet: an old one is searched by what the route searches with, a new one by the new "
        "encoder's own embedding, and all stand in one list",
        "farthest from class mean first": "an order to re-embed in: first what lies farthest from "
        "the mean of its identity's old embeddings",
    },
    "thresholds": {
        "threshold": "what a cosine has to exceed to be taken for the same identity; that of "
        "new/old is for the new encoder's queries while the gallery is old. It holds for data "
        "like these",
    },
    "equal_error": {
        "equal error rate (EER)": "the rate at the threshold where as large a share of pairs of "
        "one identity is rejected as of pairs of two is accepted, the lower the better",
    },
    "groups": {
        "group": "the images or identities that the file of --groups calls so. Its TAR and FMR are "
        "those of pairs both of whose images are of it, at the threshold that holds for all",
        "FMR": "false match rate: FAR within a group, whose people may be more alike",
    },
    "curves": {
        "ROC, DET": "TAR at every FAR, the higher the better; and what is missed at every FAR, the "
        "lower the better",
    },
    "baselines": {
        "Procrustes map": "the rotation that brings the embeddings of the encoder named nearest to "
        "the old ones, a matter of seconds. Where it is above new/old, the training has not "
        "brought them there yet",
    },
    "hot_refresh": {
        "hot refresh": "the gallery while its images are embedded anew, a tenth after the other; "
        "the area under the curve is the mean on the way, the higher the better",
    },
    "flips": {
        "flips": "queries whose first hit is right before the upgrade and wrong after it "
        "(negative), or the reverse",
    },
    "update_gain": {
        "update gain": "how much of the way from the old encoder to the same network without "
        "constraint (independent) the cross-test has gone",
        "tax": "what the self-test has lost against that network",
    },
}


def of(protocols: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Returns the words that stand on the page of these results, with what they mean."""
    metrics = set()
    for result in protocols.values():
        for table in report.deciding_tables(result):
            metrics |= {row[0] for row in table.rows[1:]}
    found = {}
    for word, text in METRICS.items():
        if any(is_a(metric, word) for metric in metrics):
            found[word] = text
    for part, meanings in OTHERS.items():
        if any(part in result for result in protocols.values()):
            found |= meanings
    return found


def is_a(metric: str, word: str) -> bool:
    """Tells whether a word, such as top-k, stands for a metric, such as top-5."""
    return metric.startswith(word.removesuffix("k"))
