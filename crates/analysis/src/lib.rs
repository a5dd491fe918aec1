//! Decides AnalysisRuns; one file a metric provider. Pure.
