"""Artefacts: the folders and files that commands make.

They are written beside their place, under a lock, and renamed into it.
"""

from bct_keras.artefacts.files import placing as placing
from bct_keras.artefacts.files import remove_unplaced as remove_unplaced
from bct_keras.artefacts.files import replacing as replacing
from bct_keras.artefacts.files import scratch_folder as scratch_folder
from bct_keras.artefacts.files import write_atomically as write_atomically
from bct_keras.artefacts.files import write_beside as write_beside
from bct_keras.artefacts.folders import alone as alone
from bct_keras.artefacts.folders import filling as filling
from bct_keras.artefacts.folders import locked_partial as locked_partial
from bct_keras.artefacts.folders import making as making
from bct_keras.artefacts.folders import mending as mending
from bct_keras.artefacts.folders import new_folder as new_folder
from bct_keras.artefacts.manifests import COPY as COPY
from bct_keras.artefacts.manifests import LARGEST_MANIFEST as LARGEST_MANIFEST
from bct_keras.artefacts.manifests import LOCK as LOCK
from bct_keras.artefacts.manifests import MANIFEST as MANIFEST
from bct_keras.artefacts.manifests import TABLE as TABLE
from bct_keras.artefacts.manifests import check_place as check_place
from bct_keras.artefacts.manifests import file_sha256 as file_sha256
from bct_keras.artefacts.manifests import fingerprint as fingerprint
from bct_keras.artefacts.manifests import is_current as is_current
from bct_keras.artefacts.manifests import is_empty as is_empty
from bct_keras.artefacts.manifests import kind_of as kind_of
from bct_keras.artefacts.manifests import named as named
from bct_keras.artefacts.manifests import read_manifest as read_manifest
from bct_keras.artefacts.manifests import write_manifest as write_manifest
from bct_keras.artefacts.results import read_result as read_result
from bct_keras.artefacts.results import read_sealed as read_sealed
from bct_keras.artefacts.results import write_result as write_result
from bct_keras.artefacts.results import write_sealed as write_sealed
from bct_keras.artefacts.together import filling_together as filling_together
from bct_keras.artefacts.together import last_of_all as last_of_all
from bct_keras.artefacts.twins import missing_twins as missing_twins
from bct_keras.artefacts.twins import restore as restore
from bct_keras.artefacts.twins import write_listing as write_listing
