// Package testrules makes the rules that tests give to inputs whose rules are not their subject.
package testrules

import (
	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// Groups are rules under which every column but the unit may be used in every way, and groups
// of minGroup people are shown to the receivers.
func Groups(minGroup int64, receivers ...wire.ID) *agreement.Rules {
	return &agreement.Rules{
		Answers: agreement.Groups, MinGroup: minGroup, RoundTo: 1, MaxRows: agreement.MaxRows, MaxColumns: agreement.MaxOutputColumns,
		Receivers: receivers, Roles: []wire.ID{agreement.Filter, agreement.Group, agreement.Aggregate}, Columns: []agreement.ColumnRule{},
		Partners: agreement.Fixed, Differences: agreement.Audited,
	}
}
