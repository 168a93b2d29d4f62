"""DICOM series read and written: CT images in, derived series and segmentations out."""
