/** Names for containers that were given none: two words, chosen by the container's id. Pure. */

const qualities =
  'agile alert amber ample apt azure balmy bold brave breezy brief bright brisk calm candid cheery chilly civil clean clear clever copper cosmic cordial cozy crisp curious dapper daring dawning deep deft dewy eager early easy even fair fancy fine firm fleet fluent fond frank free fresh gentle glad golden grand great green handy happy hardy hazel honest humble indigo ivory jolly keen kind lively loyal lucid lucky lunar mellow merry mild mint misty modest neat nimble noble olive patient placid plucky polite prime proud pure quick quiet rapid ready robust rosy rustic sandy serene sharp silver sleek snug solar solid sunny swift tidy';
const things =
  'acorn alder anchor apple arbor ash atlas badger barley basin bay beacon birch bison brook cedar cliff clover comet coral cove crane creek crow cypress dale delta dune eagle elm ember falcon fern finch fjord forest fox gale garnet glade grove gull harbor hawk hazelnut heath heron hill iris island ivy jasper kestrel kite lagoon lake lark laurel lemur lilac linden lynx maple marsh meadow moss oak oasis orchid osprey otter owl pebble pine plover pond poplar prairie quartz quail rain raven reed reef ridge river robin rowan sail sedge shore sparrow spruce stone stork summit swan thistle tide tulip valley willow wren';

/** Eight of them, and then with numbers, without end: the first that is free is the container's. */
export function* generatedNames(id: string): Generator<string> {
  const [first, second] = [qualities.split(' '), things.split(' ')];
  for (let at = 0; ; at++) {
    const from = (at % 8) * 8;
    const word = (list: readonly string[], digits: string) => list[Number.parseInt(digits, 16) % list.length]!;
    const name = `${word(first, id.slice(from, from + 4))}_${word(second, id.slice(from + 4, from + 8))}`;
    yield at < 8 ? name : `${name}${at - 7}`;
  }
}
