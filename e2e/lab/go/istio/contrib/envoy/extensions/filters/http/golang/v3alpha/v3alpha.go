package v3alpha
