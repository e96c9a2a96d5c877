"""Galleries by what keeps their entries, and the orders in which they are embedded anew."""

from bct_keras.gallery import orders
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.milvus import MilvusGallery

GALLERIES = {"file": FileGallery, "milvus": MilvusGallery}
ORDERS = {
    "stored": orders.stored,
    "by_label": orders.by_label,
    "random": orders.random,
    "farthest": orders.farthest,
    "listed": orders.listed,
}
