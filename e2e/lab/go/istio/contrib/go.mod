// Stands in for github.com/envoyproxy/go-control-plane/contrib: the version that Istio requires is not
// published as a release. istiod imports these packages to register their messages and does not use
// them for a plain gateway, so they are empty.
module github.com/envoyproxy/go-control-plane/contrib

go 1.24

require (
	github.com/envoyproxy/go-control-plane/envoy v1.40.0
	google.golang.org/protobuf v1.36.11
)
