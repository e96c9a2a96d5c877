"""What does the work of a command: processes of this machine, or a cluster; or a part of it."""

from bct_keras.engines.engine import Engine as Engine
from bct_keras.engines.local import Local as Local
from bct_keras.engines.local import local_processes as local_processes
from bct_keras.engines.making import RESULTS as RESULTS
from bct_keras.engines.making import Crew as Crew
from bct_keras.engines.making import Made as Made
from bct_keras.engines.making import make as make
from bct_keras.engines.on_ray import Ray as Ray
from bct_keras.engines.parts import Part as Part
from bct_keras.engines.parts import parse_part as parse_part
from bct_keras.engines.work import Job as Job
from bct_keras.engines.work import Piece as Piece
from bct_keras.engines.work import Pieces as Pieces
from bct_keras.engines.work import Report as Report
from bct_keras.engines.work import Result as Result
from bct_keras.engines.work import Worker as Worker

ENGINES = {"local": Local, "ray": Ray}
