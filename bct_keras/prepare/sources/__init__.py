"""Where images come from."""

from bct_keras.prepare.sources.folder import Folder
from bct_keras.prepare.sources.recordio import RecordIO
from bct_keras.prepare.sources.synthetic import Synthetic

SOURCES = {"folder": Folder, "recordio": RecordIO, "synthetic": Synthetic}
