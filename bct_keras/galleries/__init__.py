"""Galleries by what keeps their entries, and the orders in which they are embedded anew."""

from bct_keras.galleries import orders
from bct_keras.galleries.file import FileGallery
from bct_keras.galleries.milvus import MilvusGallery

GALLERIES = {"file": FileGallery, "milvus": MilvusGallery}
ORDERS = {
    "stored": orders.stored,
    "by_label": orders.by_label,
    "random": orders.random,
    "listed": orders.listed,
}
