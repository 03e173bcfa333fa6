// Holds decisions of skep against those of Open Policy Agent: `opa PAIRS`, with a pair of policy and input on each line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// What a policy and an input came to with skep.
type pair struct {
	Policy    string
	Supported bool
	Text      string
	Input     any
	Allowed   bool
	Reasons   []string
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	var pairs, allowed, unsupported, differences int
	policies := map[string]bool{}
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		var p pair
		if err := decoder.Decode(&p); err != nil {
			fail("%v", err)
		}
		pairs++
		policies[p.Policy] = true
		if !p.Supported {
			unsupported++
			if p.Allowed {
				differences++
				fmt.Printf("%s: it is not supported, and was allowed\n", p.Policy)
			}
			continue
		}
		// As strict as skep: what a function cannot compute is an error, and not something that is not so.
		verdict, reasons, err := decide(p, true)
		if verdict != p.Allowed {
			differences++
			fmt.Printf("%s: skep %t %q, opa %t %q %v\n  input %v\n", p.Policy, p.Allowed, p.Reasons, verdict, reasons, err, p.Input)
		} else if len(reasons) > 0 && !slices.Equal(reasons, sorted(p.Reasons)) {
			differences++
			fmt.Printf("%s: skep says %q, opa %q\n", p.Policy, p.Reasons, reasons)
		}
		if p.Allowed {
			allowed++
			// As meigma/blob asks: skep allows nothing that this denies.
			if verdict, reasons, err := decide(p, false); !verdict {
				differences++
				fmt.Printf("%s: skep allows, opa that passes over errors does not: %q %v\n", p.Policy, reasons, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		fail("%v", err)
	}
	fmt.Printf("%d policies, %d pairs: %d allowed, %d not supported and denied, %d differences\n", len(policies), pairs, allowed, unsupported, differences)
	if differences > 0 || pairs-unsupported < 1000 {
		os.Exit(1)
	}
}

// Decides as meigma/blob does: a reason in deny denies, and without one allow has to be true.
func decide(p pair, strict bool) (bool, []string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	results, err := rego.New(
		rego.Query("data.blob.policy"),
		rego.Module(p.Policy, p.Text),
		rego.Input(p.Input),
		rego.StrictBuiltinErrors(strict),
		rego.SetRegoVersion(ast.RegoV1),
	).Eval(ctx)
	if err != nil || len(results) == 0 || len(results[0].Expressions) == 0 {
		return false, nil, err
	}
	answer, _ := results[0].Expressions[0].Value.(map[string]any)
	reasons, denied := denials(answer["deny"])
	allow, _ := answer["allow"].(bool)
	return allow && !denied, sorted(reasons), nil
}

// Reasons that are text, and whether there is anything.
func denials(deny any) ([]string, bool) {
	switch deny := deny.(type) {
	case nil:
		return nil, false
	case bool:
		return nil, deny
	case []any:
		var reasons []string
		for _, reason := range deny {
			if text, ok := reason.(string); ok {
				reasons = append(reasons, text)
			}
		}
		if len(reasons) < len(deny) {
			reasons = nil
		}
		return reasons, len(deny) > 0
	case map[string]any:
		return nil, len(deny) > 0
	default:
		return nil, true
	}
}

func sorted(texts []string) []string {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return texts
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}
