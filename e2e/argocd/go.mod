module headgate.dev/e2e/argocd

go 1.26.3

require (
	github.com/argoproj/argo-cd/v3 v3.5.4
	github.com/yuin/gopher-lua v1.1.2
)
