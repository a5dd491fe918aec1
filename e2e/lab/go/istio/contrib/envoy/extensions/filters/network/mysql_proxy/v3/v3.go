// Package v3 stands in for the published one: istiod fills this message for a data plane that the lab does not run.
package v3

import (
	"google.golang.org/protobuf/types/known/emptypb"
)

// MySQLProxy has the one field that istiod sets.
type MySQLProxy struct {
	emptypb.Empty
	StatPrefix string
}
