package room

import (
	"bytes"
	"encoding/json"
	"strings"

	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// format writes rows as CSV (RFC 4180 with line feeds: NULL is an empty field, empty text a
// pair of quotes) or as JSON (a list with one object a row; decimals are text, since JSON
// readers round them). The same rows always give the same bytes.
func format(kind wire.ID, r sql.Result) []byte {
	if kind == "json" {
		return formatJSON(r)
	}
	return formatCSV(r)
}

func formatCSV(r sql.Result) []byte {
	var b bytes.Buffer
	for i, c := range r.Columns {
		if i > 0 {
			b.WriteByte(',')
		}
		csvField(&b, c.Name)
	}
	b.WriteByte('\n')
	for _, row := range r.Rows {
		for i, cell := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			if cell != nil {
				csvField(&b, *cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func csvField(b *bytes.Buffer, text string) {
	if text != "" && !strings.ContainsAny(text, ",\"\r\n") && text[0] != ' ' && text[len(text)-1] != ' ' {
		b.WriteString(text)
		return
	}
	b.WriteString(`"` + strings.ReplaceAll(text, `"`, `""`) + `"`)
}

func formatJSON(r sql.Result) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for n, row := range r.Rows {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n{")
		for i, cell := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			jsonText(&b, r.Columns[i].Name)
			b.WriteByte(':')
			switch {
			case cell == nil:
				b.WriteString("null")
			case r.Columns[i].Type == "integer" || r.Columns[i].Type == "boolean":
				b.WriteString(*cell)
			default:
				jsonText(&b, *cell)
			}
		}
		b.WriteByte('}')
	}
	b.WriteString("\n]\n")
	return b.Bytes()
}

func jsonText(b *bytes.Buffer, text string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.Encode(text)        //nolint:errcheck // text is a string: this can't fail
	b.Truncate(b.Len() - 1) // its line feed
}
