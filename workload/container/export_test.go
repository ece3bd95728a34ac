package container

// Variables are a plan's environment, and Places where its far ends are.
func Variables(p *Plan) []string { return p.env }

func Places(p *Plan) (addresses []string) {
	for _, e := range p.egress {
		addresses = append(addresses, e.address)
	}
	return addresses
}
