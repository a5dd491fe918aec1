// Says whether Argo Rollouts can read objects: decodes them into the types of its own module, as its clients do.
//
// Reads a JSON array of objects from standard input and writes an array of texts in the same order: what is wrong with each,
// or nothing. A kind that Argo Rollouts does not have ends the program.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return fmt.Errorf("standard input is no array of objects: %w", err)
	}
	answers := []string{}
	for number, object := range objects {
		typed, err := empty(object["kind"])
		if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		answers = append(answers, wrong(object, typed))
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func empty(kind any) (runtime.Object, error) {
	switch kind {
	case "Rollout":
		return &v1alpha1.Rollout{}, nil
	case "AnalysisRun":
		return &v1alpha1.AnalysisRun{}, nil
	case "AnalysisTemplate":
		return &v1alpha1.AnalysisTemplate{}, nil
	case "ClusterAnalysisTemplate":
		return &v1alpha1.ClusterAnalysisTemplate{}, nil
	}
	return nil, fmt.Errorf("Argo Rollouts has no kind %v", kind)
}

// Its typed clients decode JSON, and its dynamic ones convert what was decoded already: each is stricter somewhere.
func wrong(object map[string]any, typed runtime.Object) string {
	written, err := json.Marshal(object)
	if err == nil {
		err = json.Unmarshal(written, typed)
	}
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object, typed.DeepCopyObject())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
