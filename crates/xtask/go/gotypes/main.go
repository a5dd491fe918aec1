// gotypes says what Kubernetes' and Argo Rollouts' Go structs look like in JSON, and hashes with them.
//
// Usage:
//
//	gotypes types          prints the table of structs that the hash depends on
//	gotypes hash < lines   answers each line {"root", "value", "collisionCount"} with "<hash> <canonical JSON>"
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log"
	"os"
	"reflect"
	"strings"

	rollouts "github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/rand"
)

func main() {
	log.SetFlags(0)
	switch strings.Join(os.Args[1:], " ") {
	case "types":
		printTypes()
	case "hash":
		hashLines()
	default:
		log.Fatal("usage: gotypes types | hash")
	}
}

// Types that marshal themselves. Our side knows them by name; any other one stops the generator.
var special = map[reflect.Type]string{
	reflect.TypeFor[resource.Quantity]():  "Quantity",
	reflect.TypeFor[intstr.IntOrString](): "IntOrString",
	reflect.TypeFor[meta.Time]():          "Time",
	reflect.TypeFor[meta.FieldsV1]():      "RawJSON",
	reflect.TypeFor[json.RawMessage]():    "RawJSON",
}

var packages = map[string]string{
	"k8s.io/api/core/v1":                                           "core",
	"k8s.io/apimachinery/pkg/apis/meta/v1":                         "meta",
	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1": "rollouts",
}

// field is one JSON member, in the order in which Go writes it; embedded structs are already flattened.
type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Omit string `json:"omit,omitempty"` // "empty" (omitempty), "zero" (omitzero), or nothing: always written
}

var omissions = map[string]string{"": "", "omitempty": "empty", "omitzero": "zero", "omitempty,omitzero": "zero"}

var structs = map[string][]field{}

func printTypes() {
	table := map[string]any{
		"roots": map[string]string{
			"template": describe(reflect.TypeFor[core.PodTemplateSpec]()),
			"steps":    describe(reflect.TypeFor[[]rollouts.CanaryStep]()),
		},
		"structs": structs,
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	check(encoder.Encode(table))
}

// describe writes a type as Go would ("*core.Probe", "map[string]Quantity") and records the structs it reaches.
func describe(t reflect.Type) string {
	if name, ok := special[t]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + describe(t.Elem())
	case reflect.Slice:
		return "[]" + describe(t.Elem())
	case reflect.Map:
		return "map[" + describe(t.Key()) + "]" + describe(t.Elem())
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		log.Fatalf("%v reads itself: teach both sides its form first", t)
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return t.Kind().String()
	case reflect.Struct:
		return describeStruct(t)
	}
	log.Fatalf("%v: kind %v is not understood", t, t.Kind())
	return ""
}

func describeStruct(t reflect.Type) string {
	name, ok := packages[t.PkgPath()]
	if !ok {
		log.Fatalf("%v: package %s is not understood", t, t.PkgPath())
	}
	name += "." + t.Name()
	if _, seen := structs[name]; !seen {
		structs[name] = nil // it may refer to itself
		structs[name] = fieldsOf(t, map[string]bool{})
	}
	return name
}

func fieldsOf(t reflect.Type, taken map[string]bool) (fields []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		options := strings.Split(f.Tag.Get("json"), ",")
		name := options[0]
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(f.Type, taken)...)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" || taken[name] {
			log.Fatalf("%v.%s: an untagged, doubled or embedded pointer field is not understood", t, f.Name)
		}
		taken[name] = true
		omit, ok := omissions[strings.Join(options[1:], ",")]
		if !ok {
			log.Fatalf("%v.%s: the options in %q are not understood", t, f.Name, f.Tag)
		}
		fields = append(fields, field{name, describe(f.Type), omit})
	}
	return fields
}

type request struct {
	Root           string `json:"root"` // "template" or "steps"
	Value          any    `json:"value"`
	CollisionCount *int32 `json:"collisionCount"`
}

// hashLine walks the way of the controller: unstructured, typed (leniently if need be), through JSON once, hashed.
func hashLine(line []byte) string {
	var wanted request
	check(kjson.Unmarshal(line, &wanted))
	spec := map[string]any{"template": wanted.Value}
	if wanted.Root == "steps" {
		spec = map[string]any{"strategy": map[string]any{"canary": map[string]any{"steps": wanted.Value}}}
	}
	object := map[string]any{"spec": spec}
	var rollout rollouts.Rollout
	if runtime.DefaultUnstructuredConverter.FromUnstructured(object, &rollout) != nil {
		rollout = rollouts.Rollout{}
		_ = json.Unmarshal(must(json.Marshal(object)), &rollout)
	}
	var again rollouts.Rollout
	check(json.Unmarshal(must(json.Marshal(&rollout)), &again))
	var hashed any = &again.Spec.Template
	if wanted.Root == "steps" {
		hashed = []rollouts.CanaryStep(nil)
		if again.Spec.Strategy.Canary != nil {
			hashed = again.Spec.Strategy.Canary.Steps
		}
	}
	canonical := must(json.Marshal(hashed))
	hasher := fnv.New32a()
	hasher.Write(canonical)
	if wanted.CollisionCount != nil {
		hasher.Write(binary.LittleEndian.AppendUint64(nil, uint64(uint32(*wanted.CollisionCount))))
	}
	return rand.SafeEncodeString(fmt.Sprint(hasher.Sum32())) + " " + string(canonical)
}

func hashLines() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		fmt.Println(hashLine(in.Bytes()))
	}
	check(in.Err())
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
