package agreement

import (
	"fmt"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// prose builds text for a terminal: headed sections of paragraphs and items, wrapped.
type prose struct{ b strings.Builder }

// proseWidth is the most characters in a line, words longer than that excepted.
const proseWidth = 92

func (w *prose) heading(text string) { w.b.WriteString("\n" + strings.ToUpper(text) + "\n") }

// say writes a paragraph.
func (w *prose) say(format string, args ...any) { w.wrap("", "", fmt.Sprintf(format, args...)) }

// item writes an entry of a list and sub one below it; more and subMore write a paragraph
// that belongs to one.
func (w *prose) item(format string, args ...any) { w.wrap("- ", "  ", fmt.Sprintf(format, args...)) }
func (w *prose) sub(format string, args ...any)  { w.wrap("  * ", "    ", fmt.Sprintf(format, args...)) }
func (w *prose) subMore(format string, args ...any) {
	w.wrap("    ", "    ", fmt.Sprintf(format, args...))
}
func (w *prose) more(format string, args ...any) { w.wrap("  ", "  ", fmt.Sprintf(format, args...)) }

func (w *prose) wrap(lead, indent, text string) {
	line, length := lead, len([]rune(lead))
	empty := true
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		if !empty && length+1+n > proseWidth {
			w.b.WriteString(line + "\n")
			line, length, empty = indent, len([]rune(indent)), true
		}
		if !empty {
			line, length = line+" ", length+1
		}
		line, length, empty = line+word, length+n, false
	}
	w.b.WriteString(line + "\n")
}

// verbatim writes somebody's text line by line behind a bar, so that none of it can pass
// for ours.
func (w *prose) verbatim(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")
		w.b.WriteString("    | " + verdict.Printable(line) + "\n")
	}
}

// listed joins names as people do: "a", "a and b", "a, b and c".
func listed(names []string, last string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + last + " " + names[len(names)-1]
}

// plural gives "1 run" or "2 runs".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// oneLine shows free text inside a sentence.
func oneLine(text string) string {
	return verdict.Printable(strings.Join(strings.Fields(text), " "))
}

// size shows a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return plural(n, "byte")
}

func idTexts(ids []wire.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
