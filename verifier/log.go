package verifier

import (
	"context"
	"log/slog"

	"strongroom.dev/appraise"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// decision is what came of evidence, for the counts and the log.
type decision struct {
	platform wire.ID
	// verdict is "" as long as nothing was judged; failed is the first check that failed.
	verdict, failed string
	token           string // shape of the token that was given
}

// note counts a decision and writes a line about it: ids, never evidence, claims, keys or nonces.
// err is what the caller is told. What was not judged, because the store fails or too much is
// under way, is none.
func (s *Service) note(ctx context.Context, a asking, d decision, err error) {
	if err != nil {
		e := verdict.As(err)
		if d.failed == "" {
			d.failed = e.Check
		}
		if d.verdict == "" && e.Kind == verdict.Invalid {
			d.verdict = invalid
		}
	}
	if d.verdict == "" {
		return
	}
	s.stats.judged(d.platform, d.verdict)
	var policy appraise.PolicyName
	if a.policy != nil {
		policy.ID, policy.Version = a.policy.ID, a.policy.Version
	}
	s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "evidence judged",
		slog.String("audience", a.audience), slog.String("platform", string(d.platform)), slog.String("verdict", d.verdict),
		slog.String("policy", string(policy.ID)), slog.Int64("version", policy.Version), slog.String("check", d.failed), slog.String("token", d.token))
}

// refused notes a refusal of evidence that was examined, and gives it back.
func (s *Service) refused(ctx context.Context, a asking, platform wire.ID, err error) error {
	s.note(ctx, a, decision{platform: platform}, err)
	return err
}
