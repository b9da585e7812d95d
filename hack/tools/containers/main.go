// Reads a Dockerfile as BuildKit does, or a compose file as Compose does, and writes what it understood as JSON. What
// either of them refuses or warns of ends it with a message.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type stage struct {
	Name     string    `json:"name"`
	Base     string    `json:"base"`
	Commands []command `json:"commands"`
}

type command struct {
	Name string               `json:"name"`
	Is   instructions.Command `json:"is"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: containers dockerfile|compose FILE")
		os.Exit(2)
	}
	read := map[string]func(string) (any, error){"dockerfile": dockerfile, "compose": compose}[os.Args[1]]
	if read == nil {
		fmt.Fprintf(os.Stderr, "`%s` is not one of: dockerfile, compose\n", os.Args[1])
		os.Exit(2)
	}
	found, err := read(os.Args[2])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dockerfile(path string) (any, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return nil, err
	}
	var warnings []string
	for _, warning := range parsed.Warnings {
		warnings = append(warnings, warning.Short)
	}
	lint := linter.New(&linter.Config{
		Warn: func(rule, description, url, message string, at []parser.Range) {
			warnings = append(warnings, fmt.Sprintf("%s: %s", rule, message))
		},
	})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("%s: %s", path, strings.Join(warnings, "\n"))
	}
	var found []stage
	for _, given := range stages {
		commands := []command{}
		for _, instruction := range given.Commands {
			commands = append(commands, command{Name: instruction.Name(), Is: instruction})
		}
		found = append(found, stage{Name: given.Name, Base: given.BaseName, Commands: commands})
	}
	return found, nil
}

func compose(path string) (any, error) {
	// Only the variables of the file itself: a test that depends on whoever runs it proves nothing.
	options, err := cli.NewProjectOptions([]string{path}, cli.WithName("tagwarden"), cli.WithEnv([]string{"POSTGRES_PASSWORD=secret"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}
