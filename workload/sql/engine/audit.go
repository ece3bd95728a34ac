package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

// maxAtoms bounds the classes of rows that an audit tells apart.
const maxAtoms = 200_000

// audit is what one input's owner has been told of its rows, and what it is about to be.
type audit struct {
	input  *sql.Input
	at     int // place of the input in the job
	guard  *guard.Auditor
	groups map[string][]guard.Vector // of the query at hand, by key
	shown  [][]byte
}

// audited gives the inputs that the query reads and whose rules ask for an audit.
func audited(job *sql.Job, q *guard.Query) (inputs []*sql.Input) {
	if q.Rowwise() {
		return nil
	}
	for i := range job.Inputs {
		in := &job.Inputs[i]
		if in.Rules.Differences == agreement.Audited && in.Rules.Privacy == nil && len(q.Scans(job, string(in.Name))) > 0 {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// earlier reads again the queries that were asked of the audited inputs before, each as it was
// allowed then.
func (d *database) earlier(ctx context.Context, job *sql.Job, inputs []*sql.Input) (map[wire.ID][]*guard.Query, error) {
	all := map[wire.ID][]*guard.Query{}
	for _, in := range inputs {
		for i, asked := range in.Asked {
			then := *job
			then.Query, then.Parameters, then.Tables = asked.Query, asked.Parameters, asked.Tables
			then.MaxRows, then.MaxColumns = agreement.MaxRows, agreement.MaxOutputColumns
			then.Inputs = slices.Clone(job.Inputs)
			for k := range then.Inputs {
				then.Inputs[k].Rules = guard.Permissive(then.Inputs[k].Rules)
			}
			tree, err := d.tree(ctx, asked.Query)
			if err != nil {
				return nil, err
			}
			q, err := guard.Check([]byte(tree), &then)
			if err != nil {
				return nil, &sql.Failure{Phase: sql.Query, Code: "query.difference", Input: in.Name, Detail: fmt.Sprintf("query %d that was asked before can't be read again (%s): publish a new version of the dataset", i+1, failureDetail(err))}
			}
			all[in.Name] = append(all[in.Name], q)
		}
	}
	return all, nil
}

// hold withholds from the collector the rows that, with all that was shown before, would tell
// of few people of an owner, and gives for each audited input the groups that are shown.
func (d *database) hold(ctx context.Context, job *sql.Job, c *checked, inputs []*sql.Input, collector *guard.Collector) ([]sql.Shown, error) {
	before, err := d.earlier(ctx, job, inputs)
	if err != nil {
		return nil, err
	}
	var audits []*audit
	for _, in := range inputs {
		a, err := d.auditOf(ctx, job, in, append(before[in.Name], c.query))
		if err != nil {
			return nil, err
		}
		audits = append(audits, a)
	}
	err = collector.Audit(func(groups []*string) (owners []wire.ID) {
		key := keyOf(groups)
		marks := make([]guard.Mark, len(audits))
		for i, a := range audits {
			marks[i] = a.guard.Mark()
			if !a.guard.Show(a.groups[key]) && !slices.Contains(owners, a.input.Owner) {
				owners = append(owners, a.input.Owner)
			}
		}
		for i, a := range audits {
			if len(owners) > 0 {
				a.guard.Back(marks[i])
			} else if len(a.groups[key]) > 0 {
				a.shown = append(a.shown, sql.ShownGroup(key))
			}
		}
		return owners
	})
	var shown []sql.Shown
	for _, a := range audits {
		slices.SortFunc(a.shown, bytes.Compare)
		shown = append(shown, sql.Shown{Input: a.input.Name, Groups: bytes.Join(a.shown, nil)})
	}
	return shown, err
}

// keyOf names a group by the canonical texts of its expressions.
func keyOf(groups []*string) string {
	if groups == nil {
		groups = []*string{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(groups) // texts always encode
	return b.String()
}

// member is one query at one place where it reads the input: the patterns of membership that
// rows have, as the engine wrote them.
type member struct {
	query    int // place in the list; the last is the one at hand
	patterns []map[string][]uint64
	sets     int
	apart    []string // for each set: see [guard.Query.Apart]
}

// auditOf works out the atoms of an input over all queries, and replays what was shown.
func (d *database) auditOf(ctx context.Context, job *sql.Job, in *sql.Input, queries []*guard.Query) (*audit, error) {
	a := &audit{input: in, groups: map[string][]guard.Vector{}}
	a.at = slices.IndexFunc(job.Inputs, func(other sql.Input) bool { return other.Name == in.Name })
	var members []member
	for i, q := range queries {
		for _, scan := range q.Scans(job, string(in.Name)) {
			m, err := d.membership(ctx, q, scan, a.at, len(members))
			if err != nil {
				return nil, err
			}
			m.query = i
			members = append(members, m)
		}
	}
	atoms, classes, err := d.atoms(ctx, tableOf(queries[len(queries)-1], in), in, a.at, len(members))
	if err != nil {
		return nil, err
	}
	spaces := map[string]int{"": 0}
	all := atoms
	for _, m := range members {
		for _, column := range m.apart {
			if _, found := spaces[column]; !found {
				spaces[column] = len(all)
				all = append(all, atoms...)
			}
		}
	}
	a.guard = guard.NewAuditor(all, in.Rules.MinGroup)
	groups := make([]map[string][]guard.Vector, len(queries))
	for i := range groups {
		groups[i] = map[string][]guard.Vector{}
	}
	for k, m := range members {
		m.vectors(k, classes, spaces, groups[m.query])
	}
	for i := range queries[:len(queries)-1] {
		a.replay(groups[i], in.Asked[i].Shown)
	}
	a.groups = groups[len(queries)-1]
	return a, nil
}

// replay adds what an earlier answer showed.
func (a *audit) replay(groups map[string][]guard.Vector, shown []byte) {
	keys := make([]string, 0, len(groups))
	for key := range groups {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if sql.ContainsGroup(shown, key) {
			a.guard.Show(groups[key])
		}
	}
}

// membership has the engine say of every row of the input, at one place of a query, how often
// it counts where; rows of one pattern get one number.
func (d *database) membership(ctx context.Context, q *guard.Query, scan, at, number int) (member, error) {
	tree, err := q.Membership(scan, at)
	if err != nil {
		return member{}, err
	}
	text, err := d.text(ctx, tree)
	if err != nil {
		return member{}, err
	}
	var keys, counts []string
	for i := range q.Groups() {
		keys = append(keys, fmt.Sprintf("CAST(__g%d AS VARCHAR)", i+1))
	}
	for i := range q.Sets() {
		counts = append(counts, fmt.Sprintf("CAST(__v%d AS VARCHAR)", i))
	}
	key := "'[]'"
	if len(keys) > 0 {
		key = "CAST(to_json([" + strings.Join(keys, ", ") + "]) AS VARCHAR)"
	}
	entry := key + " || ' ' || " + strings.Join(counts, " || ',' || ")
	n := strconv.Itoa(number)
	for _, statement := range []string{
		"CREATE TEMP TABLE __m" + n + " AS SELECT __g0 AS r, string_agg(" + entry + ", chr(10) ORDER BY " + entry + ") AS pattern FROM (" + text + ") GROUP BY __g0",
		"CREATE TEMP TABLE __p" + n + " AS SELECT pattern, row_number() OVER (ORDER BY pattern) - 1 AS id FROM (SELECT DISTINCT pattern FROM __m" + n + ")",
	} {
		if err := d.exec(ctx, statement); err != nil {
			return member{}, err
		}
	}
	m := member{sets: q.Sets(), apart: q.Apart()}
	rows, err := d.conn.QueryContext(ctx, "SELECT pattern FROM __p"+n+" ORDER BY id")
	if err != nil {
		return member{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var pattern string
		if err := rows.Scan(&pattern); err != nil {
			return member{}, err
		}
		read, err := readPattern(pattern, m.sets)
		if err != nil {
			return member{}, err
		}
		if m.patterns = append(m.patterns, read); len(m.patterns) > maxAtoms {
			return member{}, tooManyAtoms()
		}
	}
	return m, rows.Err()
}

func tooManyAtoms() error {
	return &sql.Failure{Phase: sql.Query, Code: "query.difference", Detail: fmt.Sprintf("more than %d classes of rows: group more coarsely", maxAtoms)}
}

// readPattern reads lines of a group's key and the counts in its sets.
func readPattern(pattern string, sets int) (map[string][]uint64, error) {
	out := map[string][]uint64{}
	for line := range strings.SplitSeq(pattern, "\n") {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("a pattern without counts")
		}
		var texts []*string
		if err := json.Unmarshal([]byte(line[:at]), &texts); err != nil {
			return nil, err
		}
		var counts []uint64
		for text := range strings.SplitSeq(line[at+1:], ",") {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return nil, err
			}
			counts = append(counts, n)
		}
		if len(counts) != sets {
			return nil, fmt.Errorf("%d counts of %d sets", len(counts), sets)
		}
		out[keyOf(texts)] = counts
	}
	return out, nil
}

// tableOf names a table of the query that holds the input.
func tableOf(q *guard.Query, in *sql.Input) string {
	tables := q.Tables()
	return tables[slices.IndexFunc(tables, func(t sql.Table) bool { return slices.Contains(t.Inputs, in.Name) })].Name
}

// atoms gives the classes of the input's rows, and which pattern of each member they have, -1
// for none.
func (d *database) atoms(ctx context.Context, table string, in *sql.Input, at, members int) (atoms []guard.Atom, classes [][]int, err error) {
	var ids, joins []string
	for i := range members {
		ids = append(ids, fmt.Sprintf("p%d.id", i))
		joins = append(joins, fmt.Sprintf("LEFT JOIN __m%d m%[1]d ON m%[1]d.r = x.%s LEFT JOIN __p%[1]d p%[1]d ON p%[1]d.pattern = m%[1]d.pattern", i, guard.RowColumn))
	}
	rows, err := d.conn.QueryContext(ctx, fmt.Sprintf("SELECT %s, count(DISTINCT x.%[2]s) AS n, CASE WHEN n < %[3]d THEN string_agg(DISTINCT CAST(hash(x.%[2]s) AS VARCHAR), ',') END "+
		"FROM %[4]s x %[5]s WHERE x.%[6]s = %[7]d GROUP BY ALL ORDER BY ALL",
		strings.Join(ids, ", "), ident(unitOf(in.Schema)), in.Rules.MinGroup, ident(guard.RowsPrefix+table), strings.Join(joins, " "), guard.InputColumn, at))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		raw, into := make([]*int64, members), make([]any, members+2)
		for i := range raw {
			into[i] = &raw[i]
		}
		var one guard.Atom
		var people *string
		into[members], into[members+1] = &one.Units, &people
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		if one.People, err = hashes(people); err != nil {
			return nil, nil, err
		}
		class := make([]int, members)
		for i, id := range raw {
			class[i] = -1
			if id != nil {
				class[i] = int(*id)
			}
		}
		atoms, classes = append(atoms, one), append(classes, class)
		if len(atoms) > maxAtoms {
			return nil, nil, tooManyAtoms()
		}
	}
	for i := range members {
		if err := d.exec(ctx, fmt.Sprintf("DROP TABLE __m%d; DROP TABLE __p%[1]d", i)); err != nil {
			return nil, nil, err
		}
	}
	return atoms, classes, rows.Err()
}

// hashes reads who the people of a small class are.
func hashes(list *string) (people []uint64, err error) {
	if list == nil {
		return nil, nil
	}
	for text := range strings.SplitSeq(*list, ",") {
		h, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, err
		}
		people = append(people, h)
	}
	return people, nil
}

// vectors adds, for every group that the member's query shows, the vectors of its sets. Those
// that are apart have atoms of their own, from spaces on.
func (m *member) vectors(number int, classes [][]int, spaces map[string]int, groups map[string][]guard.Vector) {
	mine := map[string][]guard.Vector{}
	for atom, class := range classes {
		if class[number] < 0 {
			continue
		}
		for key, counts := range m.patterns[class[number]] {
			if mine[key] == nil {
				mine[key] = make([]guard.Vector, m.sets)
				for i := range mine[key] {
					mine[key][i] = guard.Vector{}
				}
			}
			for i, n := range counts {
				if n > 0 {
					mine[key][i][spaces[m.apart[i]]+atom] = n
				}
			}
		}
	}
	for key, vectors := range mine {
		groups[key] = append(groups[key], vectors...)
	}
}
