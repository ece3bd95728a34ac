package container

import (
	"context"
	"io"

	"strongroom.dev/sandbox"
)

// Cells gives what starts the cells that a sandboxed program made ready.
func Cells(in *sandbox.Inside) func(ctx context.Context, c sandbox.Cell) (Cell, error) {
	return func(ctx context.Context, c sandbox.Cell) (Cell, error) {
		p, err := in.StartCell(ctx, c)
		if err != nil {
			return nil, err
		}
		return process{p}, nil
	}
}

// process is a cell as this package knows it.
type process struct{ *sandbox.CellProcess }

func (p process) Dial(ctx context.Context, port int) (Stream, error) {
	c, err := p.CellProcess.Dial(ctx, port)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p process) Accept(ctx context.Context, address string) (Stream, error) {
	c, err := p.CellProcess.Accept(ctx, address)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p process) Output() (stdout, stderr io.Reader) { return p.Stdout, p.Stderr }
