<?php
class Counter {
	public $count;
	function __construct() { $this->count = 0; }
	function add($by) { $this->count += $by; }
	function value() { return $this->count; }
}
function work() {
	$counter = new Counter();
	$sum = 0;
	for ($i = 0; $i < 1000000; $i += 1) {
		$counter->add(1);
		$sum += $counter->value();
	}
	return $sum;
}
