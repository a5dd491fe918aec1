package v3
