"""Object stores: paths of theirs beside this machine's, and their files read and put."""

from bct_keras.stores.files import AT_ONCE as AT_ONCE
from bct_keras.stores.files import PARTIAL as PARTIAL
from bct_keras.stores.files import aside as aside
from bct_keras.stores.files import folder_here as folder_here
from bct_keras.stores.files import forget as forget
from bct_keras.stores.files import here as here
from bct_keras.stores.files import local as local
from bct_keras.stores.files import make_folder as make_folder
from bct_keras.stores.files import mapped as mapped
from bct_keras.stores.files import names_in as names_in
from bct_keras.stores.files import put as put
from bct_keras.stores.files import put_folder as put_folder
from bct_keras.stores.files import read_bytes as read_bytes
from bct_keras.stores.files import remove_files as remove_files
from bct_keras.stores.files import remove_folder as remove_folder
from bct_keras.stores.files import size_of as size_of
from bct_keras.stores.files import sizes_in as sizes_in
from bct_keras.stores.files import states_in as states_in
from bct_keras.stores.files import uploading as uploading
from bct_keras.stores.mirror import Mirror as Mirror
from bct_keras.stores.places import is_remote as is_remote
from bct_keras.stores.places import joined as joined
from bct_keras.stores.places import place as place
from bct_keras.stores.told import explained as explained
from bct_keras.stores.told import is_of_store as is_of_store
from bct_keras.stores.told import plainly as plainly
