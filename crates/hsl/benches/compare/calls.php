<?php
function add($a, $b) { return $a + $b; }
function pick($a, $b) { return $b; }
function work() {
	$sum = 0;
	for ($i = 0; $i < 1000000; $i += 1) $sum = add($sum, pick($sum, $i));
	return $sum;
}
