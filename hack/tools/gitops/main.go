// Gives the health of objects as Argo CD and Flux would: the one by a Lua script in the sandbox that Argo CD has for
// it, the other by CEL expressions in the environment and order that Flux has for them. Reads one JSON document from
// standard input, writes one to standard output.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
)

type question struct {
	Script      string            `json:"script"`
	Expressions map[string]string `json:"expressions"`
	Objects     []map[string]any  `json:"objects"`
}

type answer struct {
	Argo        string `json:"argo"`
	ArgoMessage string `json:"argoMessage"`
	Flux        string `json:"flux"`
	FluxError   string `json:"fluxError,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	evaluate, err := programs(asked.Expressions)
	if err != nil {
		return err
	}
	answers := make([]answer, 0, len(asked.Objects))
	for _, object := range asked.Objects {
		status, message, err := argo(asked.Script, object)
		if err != nil {
			return fmt.Errorf("health.lua: %w", err)
		}
		given := answer{Argo: status, ArgoMessage: message}
		if given.Flux, err = flux(evaluate, object); err != nil {
			given.FluxError = err.Error()
		}
		answers = append(answers, given)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// argo runs the script over an object. Scripts of users get these libraries and no others: no `string`, no `math`.
func argo(script string, object map[string]any) (status, message string, err error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		opened := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(opened, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	within, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(within)
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("it returns a %s, not a table", state.Get(-1).Type())
	}
	return health.RawGetString("status").String(), health.RawGetString("message").String(), nil
}

func value(state *lua.LState, given any) lua.LValue {
	switch given := given.(type) {
	case bool:
		return lua.LBool(given)
	case float64:
		return lua.LNumber(given)
	case string:
		return lua.LString(given)
	case []any:
		table := state.CreateTable(len(given), 0)
		for _, item := range given {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(given))
		for key, item := range given {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// programs parses the expressions and does not compile them: Flux does not know which fields an object has.
func programs(expressions map[string]string) (map[string]cel.Program, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	)
	if err != nil {
		return nil, err
	}
	made := map[string]cel.Program{}
	for name, expression := range expressions {
		parsed, issues := environment.Parse(expression)
		if issues.Err() != nil {
			return nil, fmt.Errorf("%s: %w", name, issues.Err())
		}
		if made[name], err = environment.Program(parsed); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return made, nil
}

// flux looks at the generation first, then asks the expressions one after the other; the first that holds names it.
func flux(made map[string]cel.Program, object map[string]any) (string, error) {
	status, _ := object["status"].(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	observed, generation := status["observedGeneration"], metadata["generation"]
	if observed != nil && generation != nil && observed != generation {
		return "InProgress", nil
	}
	for _, name := range []string{"inProgress", "failed", "current"} {
		program, ok := made[name]
		if !ok {
			continue
		}
		result, _, err := program.Eval(object)
		if err != nil {
			return "Unknown", fmt.Errorf("%s: %w", name, err)
		}
		holds, ok := result.(types.Bool)
		if !ok {
			return "Unknown", fmt.Errorf("%s: it is no boolean", name)
		}
		if bool(holds) {
			return map[string]string{"inProgress": "InProgress", "failed": "Failed", "current": "Current"}[name], nil
		}
	}
	return "InProgress", nil
}
