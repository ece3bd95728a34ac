package policy

import (
	"fmt"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// History is what was asked of one dataset version, and answered, before (R18).
type History struct {
	// Lost is set if more may have been asked than the broker knows.
	Lost      bool
	Questions []Asked // oldest first
}

// Asked is one earlier question.
type Asked struct {
	Question agreement.Question
	Size     int64 // see [agreement.Question.Size]
	// Nothing is set if nothing was shown of the dataset version.
	Nothing bool
}

// Before gives how many of the questions an answer is held against, and whether the very same
// was asked before: then only those before it count, so that it has the same answer.
func (h History) Before(q agreement.Question) (n int, again bool) {
	n = slices.IndexFunc(h.Questions, func(a Asked) bool { return !a.Nothing && a.Question.Same(q) })
	if n < 0 {
		return len(h.Questions), false
	}
	return n, true
}

// AuditedInput is an input whose answers are held against earlier ones.
type AuditedInput struct {
	Input     wire.ID     `json:"input"`
	Statement wire.Digest `json:"statement"`
	// Before is how many of the version's questions the answer is held against.
	Before int `json:"before"`
}

// ownAudited gives the party's inputs whose answers are held against earlier ones.
func (d *decision) ownAudited() []agreement.Input {
	return slices.DeleteFunc(d.Agreement.Audited(d.work), func(in agreement.Input) bool { return !d.own(in.Owner) })
}

// checkDifferences looks whether a room can hold its answer against all that was shown before.
func (d *decision) checkDifferences() {
	q := d.Agreement.QuestionOf(d.Run.Run)
	for _, in := range d.ownAudited() {
		rows := d.Run.RowsOf(in)
		h, found := d.Books.Histories[rows.Statement]
		got, fix := "", "publish a new version of the dataset"
		switch {
		case d.retry || !q.Reads(rows.Statement) || !d.sent(rows.Statement):
		case !found:
			got, fix = "nothing known of "+rows.Statement.Short(), "use the current version and sign a run request that names it"
		case h.Lost:
			got = "a history that was lost with a part of the broker's log"
		default:
			got = d.unknown(h, q, in)
		}
		ok := got == ""
		if ok {
			got = d.heldAgainst(h, q)
		}
		d.need(ok, "differences.known", fmt.Sprintf("input %s: answers so far that this one can be held against, and room for it (%d questions, %d bytes)", in.Name, agreement.MaxQuestions, agreement.MaxHistory), got, fix)
	}
}

// sent reports whether a version's key is asked for; a run that names another is refused for that.
func (d *decision) sent(statement wire.Digest) bool {
	return slices.ContainsFunc(d.Inputs, func(in Input) bool { return in.Statement.Digest() == statement })
}

func (d *decision) heldAgainst(h History, q agreement.Question) string {
	switch n, again := h.Before(q); {
	case d.retry:
		return "the same request again"
	case again:
		return fmt.Sprintf("the same question again, after %d others", n)
	default:
		return fmt.Sprintf("%d", n)
	}
}

// unknown says why the answer to a question can't be held against those before, "" if it can.
func (d *decision) unknown(h History, q agreement.Question, in agreement.Input) string {
	n, again := h.Before(q)
	size := q.Size(d.Agreement.RowsOf(d.work))
	for i, a := range h.Questions[:n] {
		for _, t := range a.Question.Tables {
			why := ""
			if a.Question.Joins() {
				why = d.brings(t)
			} else {
				why = d.holds(t, in)
			}
			if why != "" {
				return fmt.Sprintf("question %d before it reads %s", i+1, why)
			}
		}
		size += a.Size
	}
	if !again && n >= agreement.MaxQuestions {
		return fmt.Sprintf("%d questions", n)
	}
	if !again && size > agreement.MaxHistory {
		return fmt.Sprintf("%d bytes with this one", size)
	}
	return ""
}

// holds says why an input's rows can't be counted again in an earlier question that joins
// nothing, whatever other rows were beside them; "" if they can.
func (d *decision) holds(t agreement.QuestionTable, in agreement.Input) string {
	if rows := d.Run.RowsOf(in); !slices.ContainsFunc(t.Inputs, rows.Same) {
		return fmt.Sprintf("dataset version %s without other units", rows.Statement.Short())
	}
	if now, found := d.Agreement.TableByName(t.Name); found && slices.Contains(d.work.Tables, t.Name) && !slices.Contains(now.Inputs, in.Name) {
		return "another table " + t.Name
	}
	return ""
}

// brings says what of an earlier question's table is not in this run as it was, "" if all is.
func (d *decision) brings(t agreement.QuestionTable) string {
	for _, rows := range t.Inputs {
		if !slices.ContainsFunc(d.Agreement.InputsOf(d.work), func(in agreement.Input) bool { return d.Run.RowsOf(in).Same(rows) }) {
			return fmt.Sprintf("dataset version %s, which this run does not", rows.Statement.Short())
		}
	}
	for _, name := range d.work.Tables {
		now, _ := d.Agreement.TableByName(name)
		if name != t.Name || len(now.Inputs) != len(t.Inputs) {
			if name == t.Name {
				return "another table " + name
			}
			continue
		}
		for i, input := range now.Inputs {
			if in, _ := d.Agreement.InputByName(input); !d.Run.RowsOf(in).Same(t.Inputs[i]) {
				return "another table " + name
			}
		}
	}
	return ""
}

// audited gives what the room is to be told of.
func (d *decision) audited() (list []AuditedInput) {
	q := d.Agreement.QuestionOf(d.Run.Run)
	for _, in := range d.ownAudited() {
		statement := d.Run.RowsOf(in).Statement
		n, _ := d.Books.Histories[statement].Before(q)
		list = append(list, AuditedInput{in.Name, statement, n})
	}
	return list
}
