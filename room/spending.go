package room

import "strongroom.dev/release"

// openSpending keeps what an owner's broker says of its budgets, for that owner alone. A run
// whose broker spent anything but what its noise will be made of is refused.
func (r *run) openSpending(o *owner) error {
	spent, err := release.CostsOf(r.agreement.Agreement, r.request.Run, o.id)
	if err != nil {
		return err
	}
	o.spendings, err = o.granted.OpenSpendings(r.hpke, o.asked, spent)
	return err
}
