//! What users write and read: the five kinds of `argoproj.io/v1alpha1`, 1:1 with the YAML.
