package main

// row is one line of the bench: what was measured, against what, and whether the goal is met.
type row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Against is the same quantity of the other side; 0 where there is none.
	Against float64 `json:"against"`
	// Ratio is how much better Value is than Against: above 1 is better, whatever the unit.
	Ratio float64 `json:"ratio"`
	Goal  string  `json:"goal"` // "at least 1.5x", or empty where nothing was promised
	Met   bool    `json:"met"`
}
