// Package v3alpha stands in for the published one: istiod fills this message for hardware that the lab does not have.
package v3alpha

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// QatPrivateKeyMethodConfig has the two fields that istiod sets.
type QatPrivateKeyMethodConfig struct {
	emptypb.Empty
	PollDelay  *durationpb.Duration
	PrivateKey *corev3.DataSource
}
