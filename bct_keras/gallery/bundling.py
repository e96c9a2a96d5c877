"""Puts all that a device needs into one folder: model, gallery, thresholds and the page."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from bct_keras import artefacts, progress, shipped
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError, option
from bct_keras.gallery.declaring import open_gallery
from bct_keras.gallery.file import FileGallery
from bct_keras.gallery.refusals import not_calibrated
from bct_keras.gallery.spaces import Declared
from bct_keras.printable import line

KIND = "device"
PAGE = shipped.place("export") / "edge" / "web"
BUNDLE = "bundle.json"
# What the page takes of npm's packages; the other builds of LiteRT need what no plain server sends.
RUN_TIME = (
    "@litertjs/core/dist/index.js",
    "@litertjs/core/wasm/litert_wasm_internal.js",
    "@litertjs/core/wasm/litert_wasm_internal.wasm",
    "@litertjs/core/wasm/litert_wasm_compat_internal.js",
    "@litertjs/core/wasm/litert_wasm_compat_internal.wasm",
    "@litertjs/wasm-utils/dist/index.js",
)
LITERT = "@litertjs/core@2.5.3"  # as the page's package.json
MODULES = "node_modules"  # where npm puts packages


def bundle(
    gallery: str,
    encoder: str | Path,
    out: Path,
    far: float | None = None,
    page: str | Path | None = None,
    npm: str | Path | None = None,
    say: progress.Say = progress.silent,
) -> Path:
    """Makes a folder that any server of files can give to a browser; returns it.

    Args:
        gallery: Such as `file(people.gallery)`, whose entries the encoder's queries have to fit.
        encoder: A .tflite file.
        out: The folder to make.
        far: The share of false accepts at which the page says `match` at first.
        page: The folder of the page; that which comes with the package if not given.
        npm: The folder in which npm has installed LiteRT.js; the page's, or else the working
            folder, if not given.
        say: Takes a line on what is there now.
    """
    web = Path(page or PAGE)
    check_page(web)
    modules = modules_in([Path(npm)] if npm else [web, Path()])
    file = Path(encoder)
    if file.suffix != ".tflite":
        raise InputError(f"{option('encoder', file)}: a device embeds by a .tflite file of export")
    fingerprint = load_encoder(file).fingerprint
    with open_gallery(gallery) as opened:
        if not isinstance(opened, FileGallery):
            raise InputError(f"{gallery} is no file, which a device could read: file(PATH) is")
        opened.refresh()
        opened.check()
        check_fits(opened, fingerprint, far)
        made_from = {
            "encoder": fingerprint,
            "gallery": artefacts.file_sha256(opened.path),
            "far": far,
        }
        with artefacts.making(out, KIND, made_from) as folder:
            if folder:
                fill(folder, web, modules)
                fill_own(folder, file, opened.path, far)
                artefacts.write_manifest(folder, KIND, made_from)
    served = option("directory", out)
    say(line(f"{out}: model, gallery and page; try it by python -m http.server {served}"))
    return out


def check_page(web: Path) -> None:
    """Raises where the page is not there."""
    if not (web / "page.js").is_file():
        raise InputError(f"{web} holds no page: {option('page')} has to be export/edge/web")


def modules_in(folders: list[Path]) -> Path:
    """Returns npm's packages in the first of the folders that has what the page takes of them."""
    for folder in folders:
        modules = folder / MODULES
        if all((modules / name).is_file() for name in RUN_TIME):
            return modules
    where = folders[-1]
    raise InputError(
        f"{where / MODULES} does not have LiteRT.js, by which the page embeds photos. Install it:",
        f"npm install --prefix {shlex.quote(str(where))} --no-save --no-package-lock {LITERT}",
    )


def check_fits(gallery: FileGallery, fingerprint: str, far: float | None) -> None:
    """Raises where queries of the encoder do not fit, or nobody knows what is a match."""
    in_use = gallery.encoders_in_use()
    gallery.check_admitted(fingerprint, in_use)
    declared = Declared(gallery.compatibilities())
    for known in in_use:
        if far is not None and not declared.odds(fingerprint, known):
            raise not_calibrated(gallery.name, known)


def fill(folder: Path, web: Path, modules: Path) -> None:
    """Copies the page, and LiteRT.js, into the folder."""
    for path in sorted(web.iterdir()):
        if path.is_file() and path.suffix in (".html", ".css", ".js"):
            shutil.copyfile(path, folder / path.name)
    for name in RUN_TIME:
        target = folder / MODULES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / name, target)


def fill_own(folder: Path, encoder: Path, gallery: Path, far: float | None) -> None:
    """Copies the model and the gallery into the folder, and says which they are."""
    shutil.copyfile(encoder, folder / encoder.name)
    shutil.copyfile(gallery, folder / gallery.name)
    facts: dict[str, Any] = {"model": encoder.name, "gallery": gallery.name}
    if far is not None:
        facts["far"] = far
    (folder / BUNDLE).write_text(json.dumps(facts) + "\n")
