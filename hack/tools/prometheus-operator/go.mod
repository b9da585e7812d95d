// The definition of ServiceMonitor, which a chart that makes one is held against. Copied once into the user's cache.
module tagwarden/hack/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
