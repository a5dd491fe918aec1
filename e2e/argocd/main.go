// Says what Argo CD would show for objects: runs the health checks that Argo CD's module brings for their kinds.
//
// Reads a JSON array of objects from standard input and writes an array of {"status", "message"} in the same order.
// A check that Argo CD does not have, or that fails, ends the program.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/argoproj/argo-cd/v3/resource_customizations"
	lua "github.com/yuin/gopher-lua"
)

// Argo CD gives a check so long.
const limit = time.Second

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

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
	answers := []health{}
	for number, object := range objects {
		answer, err := check(object)
		if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		answers = append(answers, answer)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func check(object map[string]any) (health, error) {
	script, err := script(object)
	if err != nil {
		return health{}, err
	}
	// As Argo CD does: no libraries but those that compute, and no more than a second.
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the check answers with a %s", state.Get(-1).Type())
	}
	return health{text(answer, "status"), text(answer, "message")}, nil
}

// The health check for the kind of an object.
func script(object map[string]any) (string, error) {
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, _, _ := strings.Cut(version, "/")
	script, err := resource_customizations.Embedded.ReadFile(group + "/" + kind + "/health.lua")
	return string(script), err
}

func text(table *lua.LTable, field string) string {
	if text, ok := table.RawGetString(field).(lua.LString); ok {
		return string(text)
	}
	return ""
}

// JSON as Lua sees it: null is nil, lists begin at 1.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		list := state.CreateTable(len(from), 0)
		for _, item := range from {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
