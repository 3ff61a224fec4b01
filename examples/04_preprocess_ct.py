"""A CT to attenuation, kept in a folder that is mapped the next time.

    python -m examples.04_preprocess_ct CT.nii.gz FOLDER     (or a folder with a DICOM series)

Without arguments the phantom is written as a NIfTI file first, so that there is something to read.
"""

import sys
from pathlib import Path

from fluoro import FluoroSimulator, PreprocessedVolume, PreprocessingSettings, VolumePreprocessor
from fluoro.paths import output_dir


def example_ct(path: Path) -> Path:
    """The phantom as a CT file."""
    import SimpleITK as sitk

    from fluoro.volume.phantom.thorax import make_thorax

    hu = make_thorax(spacing_mm=4.0)
    image = sitk.GetImageFromArray(hu.hu_zyx)
    image.SetSpacing(hu.grid.spacing_xyz_mm)
    image.SetOrigin(hu.grid.origin_xyz_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


arguments = [Path(word) for word in sys.argv[1:]]
source = arguments[0] if arguments else example_ct(output_dir() / "examples" / "phantom.nii.gz")
folder = arguments[1] if len(arguments) > 1 else output_dir() / "examples" / "preprocessed"

# CT numbers follow a straight line from -1000 HU (0 /mm) to 3000 HU (0.02 /mm); see HuToMuMapping.
settings = PreprocessingSettings(hu_clip_max=2500.0)
read = VolumePreprocessor.from_dicom if source.is_dir() else VolumePreprocessor.from_nifti
preprocessor = read(source, settings=settings)
print(preprocessor)
preprocessor.preprocess(output_dir=folder)

volume = PreprocessedVolume.load(folder)
print(volume.metadata)
frame = FluoroSimulator(volume).render_frame()
frame.save(output_dir() / "examples" / "preprocessed.png")
print(f"`app.py run configs/sweep.yaml --ct {folder}` streams it")
