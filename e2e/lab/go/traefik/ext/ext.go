// Package ext stands for a package that Traefik's authors generate: the places where their commercial
// build adds fields of its own to the dynamic configuration. Here there are none.
package ext

// HTTP adds nothing to the HTTP configuration.
type HTTP struct{}

// Router adds nothing to a router.
type Router struct{}
