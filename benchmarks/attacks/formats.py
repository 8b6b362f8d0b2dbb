"""The tiny contest in the formats that contests come in: other image files, files of many images, other archives."""

import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import py7zr
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


def _pictures(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*.png"))


def as_arrays(folder: Path) -> None:
    for path in _pictures(folder):
        np.save(path.with_suffix(".npy"), cv2.imread(str(path)))
        path.unlink()


def as_tiff(folder: Path) -> None:
    for path in _pictures(folder):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()


def as_gif(folder: Path) -> None:
    for path in _pictures(folder):
        Image.open(path).save(path.with_suffix(".gif"))
        path.unlink()


def as_dicom(folder: Path) -> None:
    for path in _pictures(folder):
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        about = FileMetaDataset()
        about.TransferSyntaxUID = ExplicitVRLittleEndian
        scan = FileDataset(str(path), {}, file_meta=about, preamble=bytes(128))
        scan.Rows, scan.Columns = pixels.shape
        scan.SamplesPerPixel, scan.PhotometricInterpretation, scan.PixelRepresentation = 1, "MONOCHROME2", 0
        scan.BitsAllocated, scan.BitsStored, scan.HighBit = 16, 16, 15
        scan.PixelData = pixels.tobytes()
        scan.save_as(path.with_suffix(".dcm"))
        path.unlink()


def as_hdf5(folder: Path) -> None:
    """A file for each folder of images, with a data set of encoded bytes for each image."""
    for images in sorted(folder.glob("*_images")):
        with h5py.File(folder / f"{images.name}.hdf5", "w") as file:
            for path in _pictures(images):
                file.create_dataset(path.name, data=np.void(path.read_bytes()))
        shutil.rmtree(images)


def as_parquet(folder: Path) -> None:
    """A file for each folder of images, with a column for each pixel."""
    for images in sorted(folder.glob("*_images")):
        paths = list(_pictures(images))
        rows = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).ravel() for path in paths])
        columns = {"image_id": [path.name for path in paths]} | {str(at): rows[:, at] for at in range(rows.shape[1])}
        pq.write_table(pa.table(columns), folder / f"{images.name}.parquet")
        shutil.rmtree(images)


def as_tfrecords(folder: Path) -> None:
    """A file for each folder of images, with a record of id and encoded image for each image."""
    for images in sorted(folder.glob("*_images")):
        records = b"".join(_record(path.name.encode(), path.read_bytes()) for path in _pictures(images))
        (folder / f"{images.name}.tfrec").write_bytes(records)
        shutil.rmtree(images)


def _record(name: bytes, image: bytes) -> bytes:
    """A TFRecord of a ``tf.train.Example`` with two features of bytes; the checksums are left at 0."""
    features = b"".join(
        _field(1, _field(1, key) + _field(2, _field(1, _field(1, value))))
        for key, value in ((b"image_id", name), (b"image", image))
    )
    example = _field(1, features)
    return len(example).to_bytes(8, "little") + bytes(4) + example + bytes(4)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


FORMATS: dict[str, Callable[[Path], None]] = {
    "*.npy": as_arrays,
    "*.tif": as_tiff,
    "*.gif": as_gif,
    "*.dcm": as_dicom,
    "*.hdf5": as_hdf5,
    "*.parquet": as_parquet,
    "*.tfrec": as_tfrecords,
}


def zip_of(source: Path, archive: Path) -> Path:
    return Path(shutil.make_archive(str(archive), "zip", source))


def tar_of(source: Path, archive: Path) -> Path:
    path = archive.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as file:
        file.add(source, "")
    return path


def seven_zip_of(source: Path, archive: Path) -> Path:
    path = archive.with_suffix(".7z")
    with py7zr.SevenZipFile(path, "w") as file:
        file.writeall(source, "")
    return path


ARCHIVES: dict[str, Callable[[Path, Path], Path]] = {"ZIPs": zip_of, "tars": tar_of, "7z files": seven_zip_of}
