//! The contract with the API server (R1-R12) without I/O.
