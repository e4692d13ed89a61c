"""mask_frames.py SEG NUMBER OUT: pydicom's frames of one segment, a byte a pixel (fractional: 0..255), behind their z."""
import struct
import sys

try:
    import numpy as np
    import pydicom
except ImportError:
    sys.exit(77)

seg = pydicom.dcmread(sys.argv[1])
frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
with open(sys.argv[3], "wb") as out:
    for pixels, group in zip(frames, seg.PerFrameFunctionalGroupsSequence):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != int(sys.argv[2]):
            continue
        out.write(struct.pack("<d", float(group.PlanePositionSequence[0].ImagePositionPatient[2])))
        out.write(pixels.astype(np.uint8).tobytes())
