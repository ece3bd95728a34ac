package container

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// CheckEnvironment holds the values that a run request chose against the agreement's rules:
// only variables of kind pattern can be chosen, all that are required must be, and the whole
// of every value must match. It needs no input, so that a run can be refused before any key.
func CheckEnvironment(rules []agreement.Environment, chosen map[string]string) error {
	known := map[string]bool{}
	for _, rule := range rules {
		if rule.Kind != agreement.Pattern {
			continue
		}
		known[rule.Name] = true
		value, found := chosen[rule.Name]
		if !found && rule.Required {
			return verdict.Refuse("container.environment", "a value for "+rule.Name+" in the run request", "none", "name one: --env "+rule.Name+"=VALUE")
		}
		if found {
			if err := match(rule, value); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		if !known[name] {
			return verdict.Refuse("container.environment", "variables that the agreement lets a request choose", verdict.Short(name), "leave it out, or agree to a rule for it")
		}
	}
	return nil
}

func match(rule agreement.Environment, value string) error {
	// Compiled by itself first: a parenthesis too many would end the group around it.
	_, err := regexp.Compile(rule.Pattern)
	if err != nil {
		return verdict.Misuse("container.environment", "an expression (RE2) for "+rule.Name, verdict.Short(rule.Pattern), "a defect in the caller: agreements are validated")
	}
	whole, err := regexp.Compile(`\A(?:` + rule.Pattern + `)\z`)
	if err != nil || !whole.MatchString(value) || len(value) > agreement.MaxValue || bytes.IndexByte([]byte(value), 0) >= 0 {
		return verdict.Refuse("container.environment", fmt.Sprintf("a value of %s that matches %s", rule.Name, verdict.Short(rule.Pattern)), verdict.Short(value), "name another value")
	}
	return nil
}

// variables makes the whole environment, in the agreement's order. Its refusals quote no
// secret.
func (p *Plan) variables(chosen map[string]string) error {
	if err := CheckEnvironment(p.container.Environment, chosen); err != nil {
		return err
	}
	for _, rule := range p.container.Environment {
		value := rule.Value
		switch rule.Kind {
		case agreement.Exact:
		case agreement.Pattern:
			own, found := chosen[rule.Name]
			if !found && rule.Value == "" {
				continue // neither chosen nor with a default: it does not exist
			}
			if found {
				value = own
				p.overrides = append(p.overrides, rule.Name+"="+own)
			}
		case agreement.FromFile:
			b, err := p.read(rule.Input, agreement.MaxValue)
			if err != nil {
				return err
			}
			if bytes.IndexByte(b, 0) >= 0 {
				return verdict.Refuse("container.environment", "input "+string(rule.Input)+" without a zero byte, which no variable can hold", "one", "its owner seals text, or the agreement mounts it as a file")
			}
			value = string(bytes.TrimSuffix(b, []byte("\n")))
			clear(b)
		default:
			return verdict.Refuse("container.environment", "a kind of variable that this room knows", verdict.Short(string(rule.Kind)), "a newer room may know it")
		}
		p.env = append(p.env, rule.Name+"="+value)
	}
	return nil
}
