package agreement

// ValidateSchema checks the columns of an input as [Agreement.Validate] does, for schemas
// that are read on their own.
func ValidateSchema(columns []Column) error {
	return validateSchema(place{check: "agreement.form", path: "schema"}, columns)
}
