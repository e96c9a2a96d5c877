"""Where images come from."""

from bct_keras.data.sources.folder import Folder
from bct_keras.data.sources.recordio import RecordIO
from bct_keras.data.sources.synthetic import Synthetic

SOURCES = {"folder": Folder, "recordio": RecordIO, "synthetic": Synthetic}
